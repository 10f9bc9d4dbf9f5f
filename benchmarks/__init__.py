"""What gtsearch costs beside what a user would pick instead; not installed. `make bench` prints the table."""
