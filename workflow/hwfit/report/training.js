// Training: the panel that is chosen is shown, and its curves are drawn.

const { panels: training, chart } = JSON.parse(document.getElementById("data").textContent).training;
const shownPanels = document.querySelectorAll(".training-panel");
const panelSelect = document.getElementById("training-panel");
let view = null;

async function showPanel() {
  const index = Number(panelSelect?.value ?? 0);
  shownPanels.forEach((panel, place) => (panel.hidden = place !== index));
  const { points, target } = training[index];
  const figure = document.getElementById("figure-training");
  figure.hidden = !points.length;
  if (points.length) {
    const options = { mode: "vega-lite", actions: false, ast: true, renderer: "svg", logLevel: 1 };
    const datasets = { points, target: [{ target }] };
    view?.finalize();
    view = (await window.vegaEmbed("#chart-training", { ...chart, datasets }, options)).view;
    document.querySelector("#chart-training svg").setAttribute("aria-hidden", "true");
  }
  figure.dataset.drawn = String(index);
}

panelSelect?.addEventListener("change", showPanel);
showPanel();
