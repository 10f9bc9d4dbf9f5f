"""The experiments that come along, one YAML file each: `gtsearch run modadd` works from anywhere."""
