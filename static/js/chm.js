// Everything the pages do beyond htmx. Events are delegated, so that swapped content needs no setting up of its own.
(function () {
  "use strict";

  var REFUSALS = [404, 409, 503]; // answers of the ingest panel that say in words what is wrong

  function byId(id) {
    return document.getElementById(id);
  }

  // --- The number failing, in the tab's title and icon ----------------------------------------------------------

  function showFailing() {
    var health = byId("health");
    if (!health || !health.dataset.failing) return;
    var failing = Number(health.dataset.failing);
    var bare = document.title.replace(/^\([\d,]+\) /, "");
    document.title = (failing ? "(" + failing.toLocaleString("en") + ") " : "") + bare;
    var link = document.querySelector('link[rel="icon"]');
    if (!link.dataset.plain) link.dataset.plain = link.href;
    link.href = failing ? badgeIcon(failing) : link.dataset.plain;
  }

  function badgeIcon(failing) {
    var text = failing > 99 ? "99" : String(failing);
    var drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#a8201a"/>' +
      '<text x="16" y="23" text-anchor="middle" font-family="sans-serif" font-weight="bold" font-size="20" fill="#fff">' + text + "</text></svg>";
    return "data:image/svg+xml," + encodeURIComponent(drawing);
  }

  // --- Notices and announcements ---------------------------------------------------------------------------------

  var noticeOf = ""; // the id of the part of the page that could not be asked for

  function notify(text, source) {
    var notice = byId("notice");
    noticeOf = source || "";
    notice.textContent = text;
    notice.hidden = !text;
  }

  var announced = "";

  function announce(text) {
    if (!text || text === announced) return;
    announced = text;
    byId("announcer").textContent = text;
  }

  // --- htmx --------------------------------------------------------------------------------------------------

  function isPoll(detail) {
    return detail.requestConfig && detail.requestConfig.verb === "get" && detail.elt.hasAttribute("data-polls");
  }

  function isBeingRead(element) {
    var selection = window.getSelection();
    return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  }

  document.addEventListener("htmx:configRequest", function (event) {
    event.detail.headers["X-CSRFToken"] = document.querySelector('meta[name="csrf-token"]').content;
    // What an ingestion has just brought is wanted now, not with the next look at the fleet.
    var cause = event.detail.triggeringEvent;
    if (cause && cause.type === "chm:ingested") event.detail.headers["X-CHM-Fresh"] = "1";
    // A page that is merely open must not keep its session alive.
    if (event.detail.verb === "get" && event.detail.elt.hasAttribute("data-polls")) event.detail.headers["X-CHM-Poll"] = "1";
    if (event.detail.elt.hasAttribute("data-filters")) leaveOutEmpty(event.detail.parameters);
  });

  // What is not chosen does not stand in the address.
  function leaveOutEmpty(parameters) {
    Object.keys(parameters).forEach(function (name) { if (parameters[name] === "") delete parameters[name]; });
  }

  document.addEventListener("htmx:beforeRequest", function (event) {
    if (!isPoll(event.detail)) return;
    // A hidden tab asks for nothing, and nobody loses what they are just marking, to copy it or to act on it.
    if (document.hidden || isBeingRead(event.detail.elt) || isBeingUsed(event.detail.elt)) event.preventDefault();
  });

  function isBeingUsed(element) {
    var focused = document.activeElement;
    var typing = focused && element.contains(focused) && focused.matches("input:not([type=checkbox]), select, textarea");
    return typing || element.querySelector('tbody input[type="checkbox"]:checked, dialog[open], details.keeps[open]');
  }

  document.addEventListener("htmx:beforeSwap", function (event) {
    var detail = event.detail;
    var isPanel = detail.target && detail.target.hasAttribute("data-panel");
    if (isPanel && REFUSALS.indexOf(detail.xhr.status) >= 0 && detail.serverResponse.indexOf("data-panel") >= 0) {
      detail.shouldSwap = true;
      detail.isError = false;
    }
  });

  document.addEventListener("htmx:afterSwap", function (event) {
    var config = event.detail.requestConfig;
    window.chmLook.sayMoments();
    showFailing();
    countAllMarked();
    endToasts();
    if (config && config.elt.getAttribute("hx-trigger") === "load") goToTarget(byId(config.elt.id));
    var panel = byId("ingest-panel");
    if (panel) announce(panel.dataset.announce);
    // The pressed button is gone: its keyboard user goes on at what took its place.
    if (config && config.verb === "post" && byId("ingest-headline")) byId("ingest-headline").focus();
  });

  // What the address leads to may be in a part that comes only now: go there as if it had been there from the start.
  function goToTarget(part) {
    var target = byId(window.location.hash.slice(1));
    if (part && target && part.contains(target)) window.location.replace(window.location.hash);
  }

  // What is typed into a filter just before its list comes would wait with the old form, which is gone: ask again.
  document.addEventListener("htmx:afterSettle", function () {
    var field = document.activeElement;
    var form = field && field.matches("input[type=search]") && field.closest("[data-filters]");
    if (!form) return;
    var asked = new URLSearchParams(window.location.search).get(field.name) || "";
    if (field.value !== asked) window.htmx.trigger(form, "submit");
  });

  document.addEventListener("htmx:afterRequest", function (event) {
    // One part that answers again says nothing about another that does not.
    if (event.detail.successful && (!noticeOf || noticeOf === event.detail.elt.id)) notify("");
  });

  document.addEventListener("htmx:responseError", function (event) {
    var status = event.detail.xhr.status;
    notify(isPoll(event.detail)
      ? "This page could not be refreshed (error " + status + "). It shows what was last known and keeps trying."
      : "That did not work (error " + status + "). Reload the page and try again.", event.detail.elt.id);
  });

  document.addEventListener("htmx:sendError", function (event) {
    notify(isPoll(event.detail)
      ? "CHM cannot be reached. This page shows what was last known and keeps trying."
      : "CHM cannot be reached. Nothing was changed; try again in a moment.", event.detail.elt.id);
  });

  // --- The page ------------------------------------------------------------------------------------------------

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-action]");
    if (!button) return;
    if (button.dataset.action === "theme") window.chmLook.changeTheme();
    if (button.dataset.action === "zone") window.chmLook.changeZone();
    if (button.dataset.action === "menu") toggleMenu(button);
    if (button.dataset.action === "copy") copy(button);
    if (button.dataset.action === "take") take(button);
    if (button.dataset.action === "print") window.print();
  });

  function toggleMenu(button) {
    var open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    byId("menu").classList.toggle("is-open", open);
  }

  // A field that somebody else has changed meanwhile gets their value, as if it had been typed.
  function take(button) {
    var field = byId(button.dataset.takesFor);
    if (field.type === "checkbox") field.checked = button.dataset.takes === "true";
    else field.value = button.dataset.takes;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
    field.focus();
  }

  // The text of the element that the button names by data-copies.
  function copy(button) {
    var text = byId(button.dataset.copies).textContent.trim();
    var refused = function () { toast("It could not be copied: the browser does not allow it here."); };
    if (!navigator.clipboard) return refused(); // by plain HTTP under a name that is not this machine's own
    navigator.clipboard.writeText(text).then(function () { toast("Copied."); }, refused);
  }

  // --- Questions before what cannot be undone: a form, or one of its buttons, names a <dialog> by data-confirm.
  // A yes goes along as `confirmed`, by which the server knows that it need not ask. ------------------------------

  document.addEventListener("submit", function (event) {
    var form = event.target;
    var button = event.submitter;
    var id = (button && button.dataset.confirm) || form.dataset.confirm;
    var dialog = id && byId(id);
    if (!dialog || form.dataset.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    dialog.returnValue = "";
    nameMarked(form, dialog);
    dialog.showModal();
    dialog.onclose = function () {
      if (dialog.returnValue !== "yes") return;
      var yes = document.createElement("input");
      yes.type = "hidden";
      yes.name = "confirmed";
      yes.value = "yes";
      form.appendChild(yes);
      form.dataset.confirmed = "yes";
      form.requestSubmit(button);
      delete form.dataset.confirmed;
      yes.remove();
    };
  }, true);

  // What is marked, in the dialog that asks about it: how many, and the first few by name.
  function nameMarked(form, dialog) {
    var list = dialog.querySelector("[data-marked-names]");
    if (!list) return;
    var rows = Array.prototype.slice.call(form.querySelectorAll("tbody tr")).filter(function (row) {
      return row.querySelector('input[type="checkbox"]:checked');
    });
    var shown = Number(list.dataset.markedNames);
    var words = rows.slice(0, shown).map(function (row) {
      return row.querySelector(".cell-name .name").textContent + " of " + row.querySelector(".cell-client").textContent.trim();
    });
    if (rows.length > shown) words.push("and " + (rows.length - shown) + " more");
    list.replaceChildren.apply(list, words.map(function (text) {
      var item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    var title = dialog.querySelector("[data-marked-title]");
    title.textContent = rows.length === 1 ? title.dataset.markedTitleOne : title.dataset.markedTitle.replace("{n}", rows.length);
  }

  // --- Marked rows: a form with data-bulk shows how many of its checkboxes are marked, and marks them all -------

  function countMarked(form) {
    var boxes = Array.prototype.slice.call(form.querySelectorAll('tbody input[type="checkbox"]'));
    var marked = boxes.filter(function (box) { return box.checked; }).length;
    form.querySelectorAll("[data-marked]").forEach(function (element) {
      element.textContent = marked ? marked + " marked" : "";
    });
    form.querySelectorAll("[data-needs-marked]").forEach(function (button) { button.disabled = !marked; });
    var all = form.querySelector("[data-marks-all]");
    if (!all) return;
    all.checked = Boolean(marked) && marked === boxes.length;
    all.indeterminate = Boolean(marked) && marked < boxes.length;
  }

  document.addEventListener("change", function (event) {
    var form = event.target.closest("[data-bulk]");
    if (!form || event.target.type !== "checkbox") return;
    if (event.target.hasAttribute("data-marks-all")) {
      form.querySelectorAll('tbody input[type="checkbox"]').forEach(function (box) { box.checked = event.target.checked; });
    }
    countMarked(form);
  });

  function countAllMarked() {
    document.querySelectorAll("[data-bulk]").forEach(countMarked);
  }

  // --- Toasts ------------------------------------------------------------------------------------------------

  var TOAST_FOR = 8000;

  function toast(text) {
    var element = document.createElement("p");
    element.className = "toast";
    element.textContent = text;
    byId("toasts").appendChild(element);
    endToasts();
  }

  function endToasts() {
    document.querySelectorAll("#toasts .toast:not([data-ends])").forEach(function (element) {
      element.dataset.ends = "";
      setTimeout(function () { element.remove(); }, TOAST_FOR);
    });
  }

  document.addEventListener("visibilitychange", function () {
    if (!document.hidden && window.htmx) window.htmx.trigger(document.body, "chm:visible");
  });

  document.querySelectorAll("[data-action]").forEach(function (button) {
    button.hidden = false; // they do nothing without this script, so they show only with it
  });
  showFailing();
  countAllMarked();
  endToasts();
})();
