//! The checks of FAPI 2.0 on requests to an authorization server, for a gateway in front of it (FAPI 2.0 §5.3.2).

pub mod answer;
pub mod authorization_response;
pub mod certificate;
pub mod client;
pub mod client_assertion;
pub mod clients;
mod distinguished_name;
pub mod metadata_document;
pub mod parameters;
pub mod pushed_answer;
pub mod redirect_uri;
pub mod token_answer;
