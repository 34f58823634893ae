// The values under the pointer, of charts that are there and of those that come later.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("aria-hidden", "true");
  document.addEventListener("pointermove", event => {
    const chart = event.target.closest?.("svg[data-series]");
    tip.style.opacity = chart ? 1 : 0;
    if (!chart) return;
    if (!tip.isConnected) document.body.append(tip);
    const box = chart.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
    const near = JSON.parse(chart.dataset.series)
      .map(s => [s.name, s.points.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)]);
    tip.textContent = near.map(([name, p]) => `${name} ${p[3]}  @ ${p[2]}`).join("\n");
    tip.style.left = `${Math.min(event.pageX + 14, scrollX + innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.pageY - 10}px`;
  });
})();
