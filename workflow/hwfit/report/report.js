// The report's own script: the charts follow the filters, the table is DataTables, a row opens to all it knows.
// Whatever comes from data goes into the page as text, never as markup.

const page = JSON.parse(document.getElementById("data").textContent);
const { words } = page;
const names = [...page.columns.map((column) => column.name), ...page.derived];
const at = Object.fromEntries(names.map((name, index) => [name, index]));
const kinds = Object.fromEntries(page.columns.map((column) => [column.name, column.kind]));
const labels = Object.fromEntries(page.columns.map((column) => [column.name, column.label]));

// --- Values as text: the same rules as numbers.py ---------------------------------------------------------

const MISSING = "–";
const three = new Intl.NumberFormat("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const four = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const two = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

const write = {
  text: (value) => value || MISSING,
  truth: (value) => (value ? words.is_true : words.is_false),
  count: (value) => whole.format(value),
  calls: (value) => (value === "never" ? words.never : whole.format(value)),
  seconds: (value) => (Math.abs(value) < 0.005 ? "0.00" : value.toFixed(2)).replace("-", "−"),
  times: (value) => `${value < 0.1 ? two.format(value) : value.toFixed(2)}×`,
  share: (value) => `${four.format(100 * value)}%`,
  points: (value) => two.format(100 * value).replace("-", "−"),
  figure: (value) => {
    if (value === 0) return "0";
    return (Math.abs(value) < 1e-4 ? value.toExponential(2) : three.format(value)).replaceAll("-", "−");
  },
};

function shown(name, value) {
  if (value === null || value === undefined || value === "") return MISSING;
  if (name === "status") return words.statuses[value] ?? value;
  if (name === "verdict") return words.verdicts[value] ?? value;
  return write[kinds[name]](value);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- Charts -----------------------------------------------------------------------------------------------

const drawn = page.rows.filter((row) => row[at.drawn]);
const views = {};
const chosen = { device: new Set(), runtime: new Set(), optimization: new Set() };
const questionSelect = document.getElementById("chart-question");

function tip(row) {
  const value = (name) => shown(name, row[at[name]]);
  const range = (low, high) =>
    row[at[low]] === null || row[at[high]] === null
      ? ""
      : ` (${write.figure(row[at[low]])}–${write.figure(row[at[high]])})`;
  const told = {};
  for (const name of ["device", "runtime", "optimization", "batch_size"]) told[labels[name]] = value(name);
  told[labels.throughput_samples_per_s] = value("throughput_samples_per_s") + range("throughput_ci_low_samples_per_s", "throughput_ci_high_samples_per_s");
  told[labels.latency_p50_ms] = value("latency_p50_ms") + range("latency_p50_ci_low_ms", "latency_p50_ci_high_ms");
  told[labels.accuracy] = value("accuracy");
  told[labels.fidelity] = value("fidelity");
  told[labels.verdict] = value("verdict");
  if (row[at.reason]) told[labels.reason] = row[at.reason];
  return told;
}

function asDatum(row) {
  const datum = Object.fromEntries(names.map((name, index) => [name, row[index]]));
  datum.tip = tip(row);
  return Object.assign(datum, page.limits[datum.question]);
}

function matches(entry) {
  return Object.entries(chosen).every(([column, values]) => !values.size || values.has(entry[column]));
}

function visibleRows() {
  return drawn.filter((row) => row[at.question] === questionSelect.value).map(asDatum).filter(matches);
}

// Ticks on round numbers: 1-2-5 over decades, even steps where the range is short.
function ticks(rows, { columns, include = [], each = false, linear = false }) {
  const values = rows.flatMap((row) => columns.map((name) => row[name])).filter((value) => value !== null && value !== undefined);
  values.push(...include);
  if (each) return [...new Set(values)].sort((a, b) => a - b);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(high > low)) return values.slice(0, 1);
  const within = (list) => list.filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
  const decades = linear ? 0 : Math.log10(high) - Math.log10(low);
  if (decades < 0.6) {
    const unit = 10 ** Math.floor(Math.log10((high - low) / 2));
    const step = unit * [1, 2, 5, 10].find((factor) => (high - low) / (unit * factor) <= 6);
    const count = Math.floor((high - low) / step) + 2;
    const first = Math.ceil(low / step);
    return within(Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12))));
  }
  const factors = decades < 1.3 ? [1, 1.5, 2, 3, 5, 7] : decades < 2 ? [1, 2, 3, 5] : decades < 3.5 ? [1, 2, 5] : [1];
  const start = Math.floor(Math.log10(low));
  const every = Math.ceil(decades / 12);
  const exponents = Array.from({ length: Math.ceil(decades / every) + 2 }, (_, i) => start + i * every);
  return within(exponents.flatMap((exponent) => factors.map((factor) => Number(`${factor}e${exponent}`))));
}

// A chart hides when its model has nothing to say to it: no optimization, or no labelled data.
const needs = {
  speedup: "speedup",
  lost: "quality_lost",
  accuracy: "accuracy",
  fidelity: "fidelity",
  roofline: "intensity",
  ...Object.fromEntries(Object.keys(page.energy_figures).map((name) => [name, "energy_j_per_sample"])),
  cost: "cost_per_million",
};
const roofed = new Set(page.roofs.map((roof) => roof.device));

// The corners of each device's roofs, as wide as the rows and the ridge, where the slope meets the flat part.
function roofCorners(rows) {
  const devices = new Set(rows.map((row) => row.device));
  const roofs = page.roofs.filter((roof) => devices.has(roof.device));
  const reach = [...rows.map((row) => row.intensity), ...roofs.map((roof) => roof.gflops / roof.gb_s)];
  const low = reach.reduce((a, b) => Math.min(a, b), Infinity) / 2;
  const high = reach.reduce((a, b) => Math.max(a, b), -Infinity) * 2;
  const sloped = new Set();
  return roofs.flatMap((roof) => {
    // Of several number formats the slope is the same, and is named once.
    const slope = sloped.has(roof.device) ? null : roof.slope;
    sloped.add(roof.device);
    const corner = (intensity, more) => ({
      roof: `${roof.device} ${roof.format}`,
      intensity,
      achieved_gflops: Math.min(roof.gflops, roof.gb_s * intensity),
      ...more,
    });
    return [corner(low, { slope }), corner(roof.gflops / roof.gb_s), corner(high, { flat: roof.flat })];
  });
}

async function drawChart(name, rows) {
  const spec = page.charts[name];
  const chart = document.getElementById(`chart-${name}`);
  const lines = new Set(rows.filter((row) => row.speedup !== null).map((row) => `${row.optimization} ${row.runtime}`));
  const height = spec.usermeta.row_height ? spec.usermeta.row_height * (lines.size + 2) : spec.height;
  const roofs = name === "roofline" ? roofCorners(rows) : [];
  const params = Object.entries(spec.usermeta.ticks).map(([axis, rule]) => ({ name: axis, value: ticks([...rows, ...roofs], rule) }));
  if (views[name]) {
    for (const { name: axis, value } of params) views[name].signal(axis, value);
    views[name].height(height).data("rows", rows);
    if (roofs.length) views[name].data("roofs", roofs);
    await views[name].resize().runAsync();
  } else {
    // Vega's interpreter (ast) evaluates expressions without eval, which the page's policy forbids.
    // Only errors are logged: a layer that the filters leave empty is no fault.
    const options = { mode: "vega-lite", actions: false, ast: true, renderer: "svg", logLevel: 1 };
    views[name] = (await window.vegaEmbed(chart, { ...spec, height, params, datasets: { rows, roofs } }, options)).view;
    // The container names the chart; its marks would only be noise to a screen reader, and the table has them.
    chart.querySelector("svg").setAttribute("aria-hidden", "true");
  }
}

// One drawing after the other, the table and the reader's clicks before any of it; one that is out of date
// by the time it is due, or half-way through, gives way to the next.
let drawing = Promise.resolve();
let wanted = 0;
const idle = () => new Promise((resume) => (window.requestIdleCallback ?? setTimeout)(resume, { timeout: 200 }));

function draw() {
  const turn = (wanted += 1);
  tellEffects();
  tellEffectRows();
  tellPapers();
  tellSplits();
  tellBounds();
  tellEnergySources();
  tellDistrusted();
  drawing = drawing.then(() => drawAll(turn));
}

// The rows that a chart can show: those under a roof, or metered in its scope.
function rowsOf(name, rows) {
  if (name === "roofline") return rows.filter((row) => roofed.has(row.device) && row.intensity !== null);
  const scope = page.energy_figures[name];
  return scope === undefined ? rows : rows.filter((row) => row.energy_scope === scope);
}

async function drawAll(turn) {
  const question = questionSelect.value;
  const rows = visibleRows();
  document.getElementById("nothing-matches").hidden = rows.length > 0;
  for (const name of Object.keys(page.charts)) {
    const own = rowsOf(name, rows);
    const speaks = own.some((row) => !needs[name] || row[needs[name]] !== null);
    document.getElementById(`figure-${name}`).hidden = !speaks;
    if (!speaks) continue;
    await idle();
    if (turn !== wanted) return;
    await drawChart(name, own);
  }
  for (const block of document.querySelectorAll("#charts .block:has(figure)")) {
    block.hidden = !block.querySelector("figure:not([hidden])");
  }
  if (turn === wanted) document.documentElement.dataset.drawn = question;
}

function tellDistrusted() {
  const distrusted = page.rows.filter(
    (row) => row[at.question] === questionSelect.value && row[at.status] === "ok" && !row[at.drawn],
  ).length;
  document.getElementById("charts-note").textContent = distrusted
    ? words.not_drawn[distrusted === 1 ? "one" : "other"].replace("{count}", whole.format(distrusted))
    : "";
}

const EFFECTS_SHOWN = 6;
const moreEffects = document.getElementById("more-effects");

function effectLine(effect) {
  const line = element("li", { className: effect.kind });
  line.dataset.mark = words.effect_kinds[effect.kind];
  line.append(element("b", { textContent: effect.name ?? effect.optimization }), effect.where ?? ": ", effect.text);
  return line;
}

function tellSplits() {
  const told = page.splits.filter((effect) => effect.question === questionSelect.value && matches(effect));
  document.getElementById("block-splits").hidden = !told.length;
  document.getElementById("splits").replaceChildren(...told.map(effectLine));
  const lines = told.flatMap((effect) => effect.lines.map((line) => [effect.device, effect.optimization, ...line]));
  document.getElementById("split-lines").replaceChildren(
    ...lines.map((line) =>
      element("tr", {}, ...line.map((cell, i) => element("td", { textContent: cell, className: [0, 1, 4].includes(i) ? "" : "number" }))),
    ),
  );
}

// A device's sentences stay while some of its rows are shown.
function tellBounds() {
  const devices = new Set(visibleRows().map((row) => row.device));
  const told = page.bounds.filter((each) => each.question === questionSelect.value && devices.has(each.device));
  document.getElementById("bounds").replaceChildren(...told.map(effectLine));
}

function tellEnergySources() {
  const rows = visibleRows().filter((row) => row.energy_j_per_sample !== null && row.energy_source);
  const sources = [...new Set(rows.map((row) => (row.energy_scope ? `${row.energy_source} (${row.energy_scope})` : row.energy_source)))];
  const told = sources.length ? words.energy_sources.replace("{sources}", () => sources.join(words.separator)) : "";
  const isMixed = new Set(rows.map((row) => row.energy_scope)).size > 1;
  document.getElementById("energy-sources").textContent = told + (isMixed ? ` ${words.energy_scopes}` : "");
}

function tellEffects() {
  const told = page.effects.filter((effect) => effect.question === questionSelect.value && matches(effect));
  const limit = moreEffects.dataset.all ? told.length : EFFECTS_SHOWN;
  document.getElementById("effects").replaceChildren(...told.slice(0, limit).map(effectLine));
  moreEffects.hidden = told.length <= EFFECTS_SHOWN;
  moreEffects.textContent = moreEffects.dataset.all
    ? words.fewer_effects
    : words.more_effects.replace("{count}", whole.format(told.length));
}

// The same in figures, a row a combination, in the order of the reader's choice.
let effectTable = null;

function effectCell({ name, kind }, row) {
  const value = row[at[name]];
  if (value === null || value === "") return MISSING;
  if (kind === "effect") return `${words.effect_kinds[value]} ${words.effect_words[value]}`;
  if (kind !== "interval") return write[kind](value);
  const [low, high] = [row[at.speedup_low], row[at.speedup_high]];
  const range = low === null || high === null ? "" : ` (${low.toFixed(2)}–${high.toFixed(2)})`;
  return write.times(value) + range;
}

function startEffectTable() {
  const columns = page.effect_columns.map((column) => {
    const isNumber = !["text", "effect"].includes(column.kind);
    return {
      title: escaped(column.label),
      data: at[column.name],
      type: isNumber ? "num" : "string",
      className: column.kind === "effect" ? "result" : "",
      render: (value, use, row) => {
        if (use === "display") return escaped(effectCell(column, row));
        if (value === "never") return Infinity;
        return value ?? (isNumber ? -Infinity : "");
      },
    };
  });
  effectTable = new window.DataTable("#effect-rows", {
    data: [],
    columns,
    // By optimization, device, runtime and batch size, which are the first of them.
    order: [0, 1, 2, 3].map((column) => [column, "asc"]),
    orderMulti: true,
    pageLength: 10,
    autoWidth: false,
    language: page.table_words,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    createdRow: (node, row) => node.classList.add(row[at.effect]),
  });
  const scroller = effectTable.table().node().parentElement;
  Object.assign(scroller, { tabIndex: 0 });
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", words.effects_scroller);
}

function tellEffectRows() {
  const named = (row) => ({ device: row[at.device], runtime: row[at.runtime], optimization: row[at.optimization] });
  const rows = drawn.filter((row) => row[at.question] === questionSelect.value && row[at.effect] && matches(named(row)));
  if (!effectTable) startEffectTable();
  page.effect_columns.forEach(({ name }, column) => {
    // What nobody has a figure for is left out, and so is the device where there is but one.
    const speaks = name === "device" ? new Set(rows.map((row) => row[at.device])).size > 1 : rows.some((row) => row[at[name]] !== null);
    effectTable.column(column).visible(speaks, false);
  });
  effectTable.clear().rows.add(rows).draw();
  document.getElementById("block-effects").querySelector(".dt-container").hidden = !rows.length;
}

function tellPapers() {
  const told = page.papers.filter((each) => each.question === questionSelect.value && matches(each));
  document.getElementById("block-papers").hidden = !told.length;
  document.querySelector("#papers tbody").replaceChildren(
    ...told.flatMap((each) =>
      each.lines.map((line) =>
        element(
          "tr",
          {},
          ...[each.optimization, `${each.device} · ${each.runtime}`, ...line].map((cell, i) =>
            element("td", { textContent: cell, className: i < 3 ? "" : "number" }),
          ),
        ),
      ),
    ),
  );
  document.getElementById("paper-titles").textContent = [...new Set(told.map((each) => each.title))].filter(Boolean).join(" · ");
}

function startCharts() {
  questionSelect.addEventListener("change", draw);
  for (const chip of document.querySelectorAll(".chips button")) {
    chip.addEventListener("click", () => {
      const values = chosen[chip.dataset.column];
      const pressed = !values.delete(chip.dataset.value);
      if (pressed) values.add(chip.dataset.value);
      chip.setAttribute("aria-pressed", String(pressed));
      chip.parentElement.classList.toggle("some", values.size > 0);
      draw();
    });
  }
  moreEffects.addEventListener("click", () => {
    moreEffects.dataset.all = moreEffects.dataset.all ? "" : "yes";
    tellEffects();
  });
  draw();
}

// --- Table ------------------------------------------------------------------------------------------------

function escaped(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function tableColumn(name) {
  const column = page.columns[at[name]];
  const isNumber = !["text", "truth"].includes(column.kind);
  return {
    name,
    title: escaped(column.label),
    data: at[name],
    visible: column.shown,
    type: isNumber ? "num" : "string",
    searchable: !isNumber,
    // Sorting, searching and the CSV see the value itself; only what is displayed is formatted, and escaped.
    render: (value, use) => {
      if (use === "display") return escaped(shown(name, value));
      if (use === "sort" || use === "type") return value ?? (isNumber ? -Infinity : "");
      return value ?? "";
    },
  };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const cellPath = (row) => ["device", "runtime", "model", "optimization", "scenario"].map((name) => row[at[name]]).join("/");

function command(row) {
  return `snakemake --cores all --force ${quoted(`results/profiles/${cellPath(row)}/round0/bs${row[at.batch_size]}.json`)}`;
}

// Every round of a row, with the attempts of its cell.
function samplesCommand(row) {
  const files = [`profiles/${cellPath(row)}/round*/bs${row[at.batch_size]}.*`, `attempts/${cellPath(row)}/round*.jsonl`];
  return `unzip ${page.archive} ${files.map(quoted).join(" ")}`;
}

function rowDetails(row) {
  const facts = element("dl", { className: "facts" });
  for (const { name, label } of page.columns) {
    const value = row[at[name]];
    if (value === null || value === "") continue;
    facts.append(
      element("div", {}, element("dt", { textContent: label }), element("dd", { textContent: shown(name, value) })),
    );
  }
  // A row of another site can be measured again at that site alone.
  const commands = row[at.device].includes("@") ? [] : [[words.repeat, command(row)]];
  if (page.archive) commands.push([words.samples, samplesCommand(row)]);
  const shownCommands = commands.flatMap(([title, text]) => [
    element("b", { textContent: title }),
    element("pre", { tabIndex: 0 }, element("code", { textContent: text })),
  ]);
  return element("div", { className: "row-details" }, facts, ...shownCommands);
}

function startTable() {
  const opener = {
    data: null,
    name: "control",
    title: `<span class="unseen">${escaped(words.actions)}</span>`,
    className: "control",
    orderable: false,
    searchable: false,
    defaultContent: `<button type="button" class="open-row" aria-expanded="false" aria-label="${escaped(words.details)}"><span aria-hidden="true">▸</span></button>`,
  };
  const columns = [opener, ...page.order.map(tableColumn)];
  const csv = {
    extend: "csvHtml5",
    text: escaped(words.csv),
    filename: "combinations",
    exportOptions: {
      columns: ":gt(0)",
      orthogonal: "export",
      stripHtml: false,
      decodeEntities: false,
      stripNewlines: false,
      trim: false,
      // Named as combinations.csv names them; the index that comes along means different things.
      format: { header: (title, index, cell) => columns[cell.dataset.dtColumn].name },
    },
  };
  const table = new window.DataTable("#rows", {
    data: page.rows,
    columns,
    order: [],
    orderMulti: true,
    pageLength: 25,
    lengthMenu: [10, 25, 100, 500],
    autoWidth: false,
    deferRender: true,
    language: page.table_words,
    layout: {
      topStart: { search: { placeholder: "" } },
      topEnd: { buttons: [{ extend: "colvis", text: escaped(words.columns), columns: ":gt(0)" }, csv] },
      bottomStart: ["info", "pageLength"],
      bottomEnd: "paging",
    },
    createdRow: (node, row) => {
      if (row[at.standing] === "pick") node.classList.add("pick");
      if (row[at.status] !== "ok") node.classList.add("quiet");
      const name = page.order.map((column) => row[at[column]]).slice(0, 5).join(" ");
      node.querySelector(".open-row").setAttribute("aria-label", `${words.details}: ${name}`);
    },
  });
  const scroller = table.table().node().parentElement;
  Object.assign(scroller, { tabIndex: 0 });
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", words.scroller);

  // DataTables leaves its column menu without a name, and its entries without their state.
  const nameMenu = () => {
    document.querySelector(".dt-button-collection")?.setAttribute("aria-label", words.columns);
    for (const entry of document.querySelectorAll(".dt-button-collection button")) {
      entry.setAttribute("role", "menuitemcheckbox");
      entry.setAttribute("aria-checked", String(entry.classList.contains("dt-button-active")));
    }
  };
  table.on("buttons-action", nameMenu);
  table.on("column-visibility", () => setTimeout(nameMenu));
  table.table().body().addEventListener("click", (event) => {
    const button = event.target.closest(".open-row");
    if (!button) return;
    const row = table.row(button.closest("tr"));
    const opens = !row.child.isShown();
    if (opens) row.child(rowDetails(row.data()), "child").show();
    else row.child.hide();
    button.setAttribute("aria-expanded", String(opens));
  });
  for (const select of document.querySelectorAll(".table-filters select")) {
    const column = table.column(`${select.dataset.column}:name`);
    select.addEventListener("change", () => {
      const wanted = select.value;
      column.search.fixed("filter", wanted === "" ? null : (value) => value === wanted).draw();
    });
  }
}

// --- The page ---------------------------------------------------------------------------------------------

function selectIn(select, value) {
  select.value = value;
  select.dispatchEvent(new Event("change"));
}

for (const link of document.querySelectorAll("a[data-value]")) {
  link.addEventListener("click", () => {
    const isChart = link.getAttribute("href") === "#charts";
    selectIn(isChart ? questionSelect : document.querySelector('.table-filters [data-column="model"]'), link.dataset.value);
  });
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    const before = button.textContent;
    button.textContent = words.copied;
    setTimeout(() => (button.textContent = before), 1500);
  });
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();

startTable();
document.documentElement.dataset.ready = "yes";
if (questionSelect) startCharts();
