"use strict";
(() => {
  // --- tables: sort by a column's button, filter by words --------------------------------------------------
  const valueOf = (row, index) => {
    const cell = row.cells[index];
    const value = cell.dataset.v;
    return value === undefined ? cell.textContent.trim() : Number(value);
  };
  const isEmpty = (value) => value === "" || value === "–";

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!head) return;
      const goesUp = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", goesUp ? "ascending" : "descending");
      const order = goesUp ? 1 : -1;
      const rows = Array.from(body.rows, (row) => [valueOf(row, head.cellIndex), row]);
      rows.sort(([a], [b]) => {
        if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b); // what is unknown comes last
        if (typeof a === "number" && typeof b === "number") return order * (a - b);
        return order * String(a).localeCompare(String(b), undefined, { numeric: true });
      });
      body.append(...rows.map(([, row]) => row));
    });
  }
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const rows = Array.from(document.getElementById(input.dataset.filters).tBodies[0].rows);
    const count = document.getElementById(`${input.dataset.filters}-count`);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
  }

  // --- charts: drawn once the page is there; the library is large ------------------------------------------
  const places = Array.from(document.querySelectorAll("[data-chart]"));
  if (!places.length) return;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    const count = names.length ? columns[names[0]].length : 0;
    return Array.from({ length: count }, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
  };
  const load = () =>
    new Promise((loaded, failed) => {
      if (window.vegaEmbed) return loaded();
      const script = document.createElement("script");
      const inline = document.getElementById("vega");
      const own = document.querySelector("script[nonce]");
      if (own) script.nonce = own.nonce;
      if (inline) {
        script.textContent = inline.textContent;
        document.head.append(script);
        return loaded();
      }
      script.src = "/vega.js";
      script.onload = loaded;
      script.onerror = failed;
      document.head.append(script);
    });
  const config = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const [ink, soft, line] = ["ink", "soft", "line"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent", font,
      view: { stroke: line },
      axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 150 },
      legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      rule: { color: soft }, tick: { color: ink },
    };
  };
  const draw = async () => {
    await load();
    const specs = read("specs");
    const datasets = Object.fromEntries(Object.entries(read("datasets")).map(([name, columns]) => [name, rowsOf(columns)]));
    for (const place of places) {
      const spec = { ...specs[place.dataset.chart], datasets: { ...specs[place.dataset.chart].datasets, ...datasets } };
      await window.vegaEmbed(place, spec, { actions: false, config: config(), renderer: "svg", logLevel: 1 });
      place.dataset.drawn = "yes";
      for (const select of place.querySelectorAll(".vega-bind select")) {
        const name = select.closest(".vega-bind").textContent.trim().split(/\s/)[0];
        select.setAttribute("aria-label", name);
      }
    }
  };
  const soon = window.requestIdleCallback || ((f) => setTimeout(f, 1));
  requestAnimationFrame(() => setTimeout(() => soon(draw), 0));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
