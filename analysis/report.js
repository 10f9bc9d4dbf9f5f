"use strict";
// Tables that sort and filter, and the members behind a number. Without it the page still reads.
(() => {
  const UNKNOWN = "–";
  const FEW = 4; // rows; a shorter table needs no filter, and one row no order
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // -- sorting ---------------------------------------------------------------------------------------------

  // A column of words sorts by its text, any other by the number behind its text; unknown is null.
  function key(row, column, words) {
    const cell = row.cells[column];
    if (!words) return cell.dataset.n === undefined ? null : Number(cell.dataset.n);
    const text = cell.textContent.trim();
    return text === "" || text === UNKNOWN ? null : text;
  }

  function sort(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    const words = head.classList.contains("words");
    const compare = words ? collator.compare : (a, b) => a - b;
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("total"));
    const keyed = rows.map((row) => [key(row, column, words), row]);
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : direction * compare(a, b)));
    body.prepend(...keyed.map(([, row]) => row)); // what is unknown comes last both ways, a total after it
  }

  // -- filtering -------------------------------------------------------------------------------------------

  function filter(table, words, count) {
    const terms = words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const total = row.classList.contains("total"); // it sums rows that a filter hides
      row.hidden = terms.length > 0 && (total || !terms.every((term) => text.includes(term)));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = terms.length > 0 ? `${shown} of ${rows.length} rows` : "";
  }

  function element(name, attributes = {}, ...inner) {
    const made = document.createElement(name);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    made.append(...inner);
    return made;
  }

  function enhance(table) {
    const length = table.tBodies[0].rows.length;
    if (length < 2) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = element("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
    if (length < FEW) return;
    const scroll = table.closest(".scroll");
    const label = `Filter: ${scroll.getAttribute("aria-label")}`;
    const input = element("input", { type: "search", placeholder: "filter", "aria-label": label });
    const count = element("output", { "aria-live": "polite" });
    input.addEventListener("input", () => filter(table, input.value, count));
    scroll.before(element("div", { class: "filter" }, input, count));
  }

  // -- the members behind a number -------------------------------------------------------------------------

  const PREFIXES = [[1e18, "EFLOP"], [1e15, "PFLOP"], [1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"], [1e3, "kFLOP"]];
  const short = (value) => Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const WRITTEN = {
    count: (value) => value.toLocaleString("en-US"),
    real: short,
    accuracy: (value) => value.toFixed(3),
    flops: (value) => {
      const [size, name] = PREFIXES.find(([size]) => value >= size) ?? [1, "FLOP"];
      return `${short(value / size)} ${name}`;
    },
  };

  const blocks = new Map(); // id of a run's block -> what it holds, read when it is first needed

  function block(id) {
    if (!blocks.has(id)) blocks.set(id, JSON.parse(document.getElementById(id).textContent));
    return blocks.get(id);
  }

  function cell(column, row, first) {
    const value = column.values[row];
    const name = first ? "th" : "td";
    const attributes = { ...(first && { scope: "row" }), ...(column.kind === "text" && { class: "words" }) };
    if (value === null) return element(name, attributes, UNKNOWN);
    if (column.kind === "text") return element(name, attributes, column.texts[value]);
    return element(name, { ...attributes, "data-n": value }, WRITTEN[column.kind](value));
  }

  function fill(group) {
    if (group.dataset.block === undefined) return;
    const { columns, groups } = block(group.dataset.block);
    delete group.dataset.block;
    const heads = columns.map((column) =>
      element("th", { scope: "col", ...(column.kind === "text" && { class: "words" }) }, column.head));
    const rows = groups[group.id].map((row) =>
      element("tr", {}, ...columns.map((column, place) => cell(column, row, place === 0))));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
    const label = group.querySelector("summary").textContent;
    group.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table));
    enhance(table);
  }

  // Opens what a link leads to, and all that it lies in.
  function reveal(id) {
    const found = id && document.getElementById(id);
    if (!found) return;
    for (let at = found; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (found.classList.contains("group")) {
      fill(found);
      found.querySelector("summary").focus({ preventScroll: true });
    }
    found.scrollIntoView();
  }

  const target = () => decodeURIComponent(location.hash.slice(1));

  document.querySelectorAll(".scroll > table").forEach(enhance);
  document.querySelectorAll("details.group").forEach((group) =>
    group.addEventListener("toggle", () => group.open && fill(group)));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) reveal(target()); // no hashchange comes of it
  });
  addEventListener("hashchange", () => reveal(target()));
  reveal(target());

  // On paper a folded table is lost.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details.table:not([open])")];
    unfolded.forEach((table) => { table.open = true; });
  });
  addEventListener("afterprint", () => unfolded.forEach((table) => { table.open = false; }));
})();
