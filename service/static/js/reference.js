// The reference of the API, drawn by Swagger UI from /openapi.json.
window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null, // it would send the document to another host
});
