// Starts Swagger UI on the API's own document. A file of its own, since the policy of the page forbids inline scripts.
(function () {
  "use strict";

  var place = document.getElementById("swagger");
  window.SwaggerUIBundle({
    url: place.dataset.document,
    domNode: place,
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    persistAuthorization: false, // a token is kept no longer than the page
    validatorUrl: null, // no badge from somebody else's server
  });
})();
