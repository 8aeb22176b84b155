// Runs before the first paint, so that a page never shows in the wrong theme first.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = window.matchMedia("(prefers-color-scheme: dark)");

  function choice() {
    try {
      return localStorage.getItem("chm-theme") || "auto";
    } catch {
      return "auto"; // storage may be forbidden; the page works without
    }
  }

  function apply() {
    var chosen = choice();
    var dark = chosen === "dark" || (chosen === "auto" && system.matches);
    root.setAttribute("data-bs-theme", dark ? "dark" : "light");
    root.setAttribute("data-theme-choice", chosen);
  }

  // What shows or hides for want of a script can tell by this.
  root.setAttribute("data-script", "");
  window.chmTheme = { apply: apply, choice: choice };
  system.addEventListener("change", function () {
    apply();
    document.dispatchEvent(new CustomEvent("chm:look"));
  });
  apply();
})();
