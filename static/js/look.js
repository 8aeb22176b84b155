// How a page looks to its reader: the theme, and the zone in which moments are told.
(function () {
  "use strict";

  var MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  var THEMES = ["auto", "light", "dark"];

  function remember(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // storage may be forbidden: the choice holds for this page
    }
  }

  function recall(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  }

  // --- Theme -------------------------------------------------------------------------------------------------

  function labelTheme() {
    var chosen = window.chmTheme.choice();
    var next = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    document.querySelectorAll('[data-action="theme"]').forEach(function (button) {
      var label = "Theme: " + chosen + ". Change to " + next + ".";
      button.setAttribute("aria-label", label);
      button.title = label;
    });
  }

  function setTheme(theme) {
    remember("chm-theme", theme);
    window.chmTheme.apply();
    labelTheme();
    showChoices();
    tellLook();
  }

  function changeTheme() {
    setTheme(THEMES[(THEMES.indexOf(window.chmTheme.choice()) + 1) % THEMES.length]);
  }

  // What draws by itself, such as the charts, must draw anew.
  function tellLook() {
    document.dispatchEvent(new CustomEvent("chm:look"));
  }

  // --- Time zone ---------------------------------------------------------------------------------------------

  var zone = recall("chm-zone") === "local" ? "local" : "utc";

  function two(value) {
    return String(value).padStart(2, "0");
  }

  function zoneName(moment) {
    if (zone === "utc") return "UTC";
    var parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(moment);
    return parts.find(function (part) { return part.type === "timeZoneName"; }).value;
  }

  // Moments in the reader's zone. Days alone are days of UTC, whatever the zone: they are counted so.
  function say(moment, form) {
    var utc = zone === "utc" || form === "day";
    var day = (utc ? moment.getUTCDate() : moment.getDate()) + " " + MONTHS[utc ? moment.getUTCMonth() : moment.getMonth()];
    if (form === "day") return day;
    var time = two(utc ? moment.getUTCHours() : moment.getHours()) + ":" +
      two(utc ? moment.getUTCMinutes() : moment.getMinutes());
    if (form === "clock") return time + " " + zoneName(moment);
    if (form === "hour") return day + ", " + time;
    time += ":" + two(utc ? moment.getUTCSeconds() : moment.getSeconds());
    if (form === "short") return day + ", " + time;
    return day + " " + (utc ? moment.getUTCFullYear() : moment.getFullYear()) + ", " + time + " " + zoneName(moment);
  }

  var IN_PLACE = ["clock", "short", "full", "hour"]; // elsewhere the text says how long ago it was

  function sayMoments() {
    document.querySelectorAll("time[data-moment]").forEach(function (element) {
      var moment = new Date(element.dateTime);
      var form = element.dataset.moment;
      element.title = (form === "since" ? "Since " : "") + say(moment, "full");
      if (IN_PLACE.indexOf(form) >= 0) element.textContent = say(moment, form);
    });
    document.querySelectorAll("[data-zone-name]").forEach(function (element) {
      element.textContent = zoneName(new Date());
    });
  }

  function labelZone() {
    var here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    document.querySelectorAll('[data-action="zone"]').forEach(function (button) {
      var label = zone === "utc"
        ? "Times are in UTC. Show them in " + here + "."
        : "Times are in " + here + ". Show them in UTC.";
      button.setAttribute("aria-label", label);
      button.title = label;
      button.querySelector("[data-zone-label]").textContent = zone === "utc" ? "UTC" : "Local";
    });
  }

  function setZone(chosen) {
    zone = chosen;
    remember("chm-zone", zone);
    labelZone();
    sayMoments();
    showChoices();
    tellLook();
  }

  function changeZone() {
    setZone(zone === "utc" ? "local" : "utc");
  }

  // --- The same choices as a form, on the profile --------------------------------------------------------------

  function showChoices() {
    var chosen = { theme: window.chmTheme.choice(), zone: zone };
    document.querySelectorAll("[data-choices]").forEach(function (choices) {
      choices.hidden = false; // they do nothing without this script
      choices.querySelectorAll("input").forEach(function (input) {
        input.checked = input.value === chosen[choices.dataset.choices];
      });
    });
    document.querySelectorAll("[data-without-script]").forEach(function (text) { text.remove(); });
  }

  document.addEventListener("change", function (event) {
    var choices = event.target.closest("[data-choices]");
    if (!choices) return;
    if (choices.dataset.choices === "theme") setTheme(event.target.value);
    if (choices.dataset.choices === "zone") setZone(event.target.value);
  });

  window.chmLook = { changeTheme: changeTheme, changeZone: changeZone, say: say, sayMoments: sayMoments };
  labelTheme();
  labelZone();
  sayMoments();
  showChoices();
})();
