"""Machine-readable descriptions, generated from the code: OpenAPI, AsyncAPI, JSON Schemas."""
