// Shows /openapi.json. Nobody else is asked: the validator of Swagger's own service is switched off.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#paths", deepLinking: true, validatorUrl: null });
