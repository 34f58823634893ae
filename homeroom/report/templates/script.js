// Language, light or dark, and the values under the pointer. The report says everything without it, too.
(() => {
  const root = document.documentElement;
  const keep = { get: k => { try { return localStorage.getItem(k); } catch { return null; } },
                 set: (k, v) => { try { localStorage.setItem(k, v); } catch { /* a file without storage */ } } };
  const language = value => { root.lang = value; keep.set("homeroom-lang", value); };
  const theme = value => { root.dataset.theme = value; keep.set("homeroom-theme", value); };
  if (keep.get("homeroom-lang")) language(keep.get("homeroom-lang"));
  if (keep.get("homeroom-theme")) theme(keep.get("homeroom-theme"));
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("language").onclick = () => language(root.lang === "zh-Hans" ? "en" : "zh-Hans");
  document.getElementById("theme").onclick = () => theme(dark() ? "light" : "dark");

  const tip = document.createElement("div");
  tip.className = "tip";
  document.body.append(tip);
  for (const chart of document.querySelectorAll("svg[data-series]")) {
    const series = JSON.parse(chart.dataset.series);
    chart.addEventListener("pointermove", event => {
      const box = chart.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
      const near = series.map(s => [s.name, s.points.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)]);
      tip.textContent = near.map(([name, p]) => `${name} ${p[3]}  @ ${p[2]}`).join("\n");
      tip.style.left = `${Math.min(event.pageX + 14, scrollX + innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.pageY - 10}px`;
      tip.style.opacity = 1;
    });
    chart.addEventListener("pointerleave", () => { tip.style.opacity = 0; });
  }
})();
