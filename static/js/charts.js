// Draws the charts of a page from the JSON beside each, in the colours of the stylesheet; again when a part of the page
// is swapped, when the theme changes and when the reader's zone does.
(function () {
  "use strict";

  var OF_STATUS = { failed: "--chm-bad", success: "--chm-ok", none: "--chm-none" };
  var NAME_LENGTH = 36;
  var SERIES = ["--chm-series-1", "--chm-series-2", "--chm-series-3", "--chm-series-4", "--chm-series-5", "--chm-series-6"];
  var STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800];
  var drawn = {};

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function label(value, form) {
    return form ? window.chmLook.say(new Date(value), form) : value;
  }

  function duration(seconds) {
    if (seconds < 59.5) return (seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)) + " s";
    var minutes = Math.round(seconds / 60);
    if (minutes < 60) return minutes + " min";
    return Math.floor(minutes / 60) + " h" + (minutes % 60 ? " " + (minutes % 60) + " min" : "");
  }

  function figure(value, unit) {
    if (value === null || value === undefined) return "-";
    if (unit === "seconds") return duration(value);
    if (unit === "percent") return Math.round(value * 10) / 10 + " %";
    return value.toLocaleString("en");
  }

  function dataset(series, place) {
    var name = series.status ? OF_STATUS[series.status] : SERIES[(series.palette === undefined ? place : series.palette) % SERIES.length];
    var set = { label: series.name, data: series.values, backgroundColor: colour(name), borderColor: colour(name) };
    if (series.level) {
      set.type = "line";
      set.borderWidth = 2;
      set.pointRadius = 0;
      set.stack = series.name; // a level is no part of what is stacked
      set.spanGaps = true;
      if (series.dashed) set.borderDash = [6, 4];
    } else {
      set.maxBarThickness = 36;
      set.borderRadius = 2;
    }
    return set;
  }

  function shorten(name) {
    return name.length > NAME_LENGTH ? name.slice(0, NAME_LENGTH - 1) + "\u2026" : name;
  }

  // Boxes throughout, since the dashes of a line would fray its box; names that a line of the legend can hold.
  function legend(chart) {
    return window.Chart.defaults.plugins.legend.labels.generateLabels(chart).map(function (label) {
      label.lineDash = [];
      label.text = shorten(label.text);
      return label;
    });
  }

  function options(chart, narrow) {
    var grid = colour("--chm-line");
    var ink = colour("--chm-quiet");
    var stacked = chart.kind === "stacked";
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      indexAxis: chart.horizontal ? "y" : "x",
      interaction: { mode: "index", intersect: false, axis: chart.horizontal ? "y" : "x" },
      onClick: function (event, elements) {
        var target = chart.links && elements.length ? chart.links[elements[0].index] : null;
        if (target) window.location.assign(target);
      },
      plugins: {
        legend: { display: chart.series.length > 1, position: "bottom", labels: { color: ink, boxWidth: 12, boxHeight: 12, font: { size: 13 }, generateLabels: legend } },
        tooltip: { filter: function (item) { return item.raw !== null; }, callbacks: { label: function (item) { return shorten(item.dataset.label) + ": " + figure(item.raw, chart.unit); } } },
      },
      scales: axes(chart, narrow, grid, ink, stacked),
    };
  }

  // Steps by which people count time, where Chart.js would take 1,000 s.
  function stepOf(chart) {
    var most = Math.max.apply(null, chart.series.map(function (series) { return Math.max.apply(null, series.values); }));
    return STEPS.find(function (step) { return most <= step * 5; });
  }

  function axes(chart, narrow, grid, ink, stacked) {
    var words = { stacked: stacked, grid: { display: false }, ticks: { color: ink, font: { size: 12 }, maxRotation: 0, autoSkip: true, autoSkipPadding: 12, maxTicksLimit: chart.horizontal ? undefined : narrow ? 4 : 12 } };
    var figures = {
      stacked: stacked,
      beginAtZero: true,
      grid: { color: grid },
      border: { display: false },
      suggestedMax: chart.unit === "runs" ? 4 : undefined,
      max: chart.unit === "percent" ? 100 : undefined,
      ticks: { color: ink, font: { size: 12 }, precision: 0, maxTicksLimit: 6, stepSize: chart.unit === "seconds" ? stepOf(chart) : undefined, callback: function (value) { return figure(value, chart.unit); } },
    };
    return chart.horizontal ? { x: figures, y: words } : { x: words, y: figures };
  }

  function draw(box) {
    var id = box.dataset.chart;
    var chart = JSON.parse(document.getElementById(id + "-data").textContent);
    var narrow = window.innerWidth < 760;
    if (drawn[id]) drawn[id].destroy();
    drawn[id] = new Chart(document.getElementById(id), {
      type: "bar",
      data: {
        labels: chart.labels.map(function (value) { return label(value, chart.times); }),
        datasets: chart.series.map(dataset),
      },
      options: options(chart, narrow),
    });
  }

  function drawAll() {
    var there = {};
    document.querySelectorAll("[data-chart]").forEach(function (box) {
      there[box.dataset.chart] = true;
      draw(box);
    });
    Object.keys(drawn).forEach(function (id) {
      if (there[id]) return;
      drawn[id].destroy();
      delete drawn[id];
    });
  }

  // htmx lends a new element the attributes of the old one with its id. The sizes that Chart.js has set would be among
  // them, as a style attribute, which the policy of the page forbids.
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (!event.detail.shouldSwap) return;
    Object.keys(drawn).forEach(function (id) {
      var canvas = document.getElementById(id);
      if (!event.detail.target.contains(canvas)) return;
      drawn[id].destroy();
      delete drawn[id];
      canvas.removeAttribute("style");
    });
  });

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  document.addEventListener("htmx:afterSwap", drawAll);
  document.addEventListener("chm:look", drawAll);
  drawAll();
})();
