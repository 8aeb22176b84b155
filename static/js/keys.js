// The keyboard: / search, j and k rows, Enter opens, x marks, g and a letter goes to a section, ? shows the keys.
(function () {
  "use strict";

  var ROWS = "main tbody tr, main [data-row]";
  var WAIT_AFTER_G = 1500;
  var wentAt = 0;

  function isTyping(element) {
    return element.closest && element.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
  }

  function visible(element) {
    return element.getClientRects().length > 0;
  }

  function rows() {
    return Array.prototype.filter.call(document.querySelectorAll(ROWS), function (row) {
      return visible(row) && row.querySelector("a[href]");
    });
  }

  function linkOf(row) {
    return row.querySelector("a.name[href], th a[href]") || row.querySelector("a[href]");
  }

  function current() {
    var focused = document.activeElement;
    return focused && focused.closest ? focused.closest(ROWS) : null;
  }

  function step(by) {
    var all = rows();
    if (!all.length) return;
    var place = all.indexOf(current());
    var next = place < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(place + by, 0), all.length - 1);
    // The link itself has the focus: Enter opens it, and a screen reader says it, without anything of ours.
    linkOf(all[next]).focus();
    all[next].scrollIntoView({ block: "nearest" });
  }

  function mark() {
    var row = current();
    var box = row && row.querySelector('input[type="checkbox"]');
    if (box) box.click();
  }

  function search() {
    var field = document.getElementById("search");
    if (!field) return;
    if (!visible(field)) {
      var menu = document.querySelector('[data-action="menu"]');
      if (menu) menu.click();
    }
    field.focus();
    field.select();
  }

  function goTo(key) {
    var link = document.querySelector('.topnav a[data-key="' + CSS.escape(key) + '"]');
    if (link) link.click();
    return Boolean(link);
  }

  function showKeys() {
    var dialog = document.getElementById("keys");
    if (dialog && !dialog.open) dialog.showModal();
  }

  var DOES = {
    "/": search,
    "?": showKeys,
    j: function () { step(1); },
    k: function () { step(-1); },
    x: mark,
    g: function () { wentAt = Date.now(); },
  };

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (Date.now() - wentAt < WAIT_AFTER_G) {
      wentAt = 0;
      if (goTo(event.key)) event.preventDefault();
      return;
    }
    if (Object.prototype.hasOwnProperty.call(DOES, event.key)) {
      event.preventDefault();
      DOES[event.key]();
    }
  });

  // --- The list below the search ------------------------------------------------------------------------------

  function suggestions() {
    return Array.prototype.slice.call(document.querySelectorAll("#suggestions a"));
  }

  function closeSuggestions() {
    var list = document.getElementById("suggestions");
    if (list) list.replaceChildren();
  }

  document.addEventListener("keydown", function (event) {
    var form = event.target.closest && event.target.closest(".search");
    if (!form) return;
    if (event.key === "Escape") {
      closeSuggestions();
      event.target.blur();
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    var all = suggestions();
    if (!all.length) return;
    event.preventDefault();
    var place = all.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    if (place < 0) document.getElementById("search").focus();
    else all[Math.min(place, all.length - 1)].focus();
  });

  // The answer to the last letters may come while somebody walks through the list. A link that is still there keeps the
  // focus; where it is not, the field has it again.
  var walkedIn = false;

  document.addEventListener("htmx:beforeSwap", function (event) {
    var list = event.detail.target;
    if (list.id === "suggestions") walkedIn = list.contains(document.activeElement);
  });

  // Other parts of the page are swapped as well, and may settle in between.
  document.addEventListener("htmx:afterSettle", function (event) {
    if (event.target.id !== "suggestions") return;
    if (walkedIn && document.activeElement === document.body) document.getElementById("search").focus();
    walkedIn = false;
  });

  document.addEventListener("focusin", function (event) {
    if (!event.target.closest(".search")) closeSuggestions();
  });

  document.addEventListener("click", function (event) {
    if (!event.target.closest(".search")) closeSuggestions();
    var opener = event.target.closest('[data-opens="keys"]');
    if (opener && !event.ctrlKey && !event.metaKey && document.getElementById("keys")) {
      event.preventDefault();
      showKeys();
    }
  });
})();
