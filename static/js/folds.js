// What a phone shows only when asked: filters that are not in use, and parts of a page that come second. Without this
// script, and on wider screens, all of it is there.
(function () {
  "use strict";

  var phone = window.matchMedia("(max-width: 759.98px)");
  var chosen = {}; // which parts the reader has opened or closed, by name: they come back with every refresh
  var filtersOpen = false;

  function fold() {
    document.querySelectorAll("details[data-fold]").forEach(function (part) {
      var name = part.dataset.fold;
      part.open = !phone.matches || chosen[name] === true;
    });
  }

  function showFilters() {
    document.querySelectorAll("[data-more-filters]").forEach(function (button) {
      button.setAttribute("aria-expanded", String(filtersOpen));
      button.closest("form").classList.toggle("is-open", filtersOpen);
    });
  }

  document.addEventListener("click", function (event) {
    var summary = event.target.closest("details[data-fold] > summary");
    if (summary) chosen[summary.parentNode.dataset.fold] = !summary.parentNode.open;
    if (event.target.closest("[data-more-filters]")) {
      filtersOpen = !filtersOpen;
      showFilters();
    }
  });

  document.addEventListener("htmx:afterSwap", function () {
    fold();
    showFilters();
  });
  phone.addEventListener("change", fold);
  fold();
})();
