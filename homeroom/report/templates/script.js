// Language, and light or dark. The report says everything without it, too.
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
})();
