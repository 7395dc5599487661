//! The page, the API, metrics and health over HTTP.
