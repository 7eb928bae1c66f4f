//! SQL scripts: tables with typed columns, and the three functions that answer what applications
//! asked the service's Query API.

pub(super) mod azure;
mod azure_functions;
mod azure_text;
mod plan;
pub(super) mod postgis;
mod postgis_functions;
mod values;

#[cfg(test)]
mod tests;
