//! The rules of FAPI on what goes to an authorization server, and on what it answers.
//!
//! For a proxy in front of an authorization server that is not certified, or that allows more than FAPI does. The server still does
//! all that it does alone; what these rules refuse never reaches it, and what it must not answer never reaches a client.
//!
//! | endpoint | on the way in | on the way out |
//! | --- | --- | --- |
//! | pushed authorization requests | [`authentication`], [`authorization_request`], [`request_object`] | [`pushed_answer`] |
//! | authorization, and the pages behind it | [`front_channel`]: only what was pushed | [`authorization_response`] |
//! | token | [`authentication`], [`token_request`] | [`token_answer`] |
//! | introspection, revocation | [`authentication`], [`token_request::judge_token_parameter`] | |
//! | registration | [`registration`], [`software_statement`] | [`registration_answer`] |
//! | metadata | | [`metadata_document`] |
//!
//! Does not fetch the keys of clients, does not remember pushed requests or used assertions, and reads no clock: these are
//! arguments.

pub mod answer;
pub mod authentication;
pub mod authorization_request;
pub mod authorization_response;
pub mod certificate;
pub mod claimed;
pub mod client;
pub mod client_assertion;
pub mod clients;
mod error;
pub mod form;
pub mod front_channel;
pub mod grant_type;
mod judged;
pub mod metadata_document;
pub mod parameters;
mod profile;
pub mod pushed_answer;
pub mod redirect_uri;
pub mod registration;
pub mod registration_answer;
pub mod request_object;
pub mod rules;
pub mod software_statement;
#[cfg(test)]
pub(crate) mod testing;
pub mod token_answer;
pub mod token_request;

pub use self::answer::AnswerError;
pub use self::error::EndpointError;
pub use self::judged::{FormRequest, JudgedRequest};
pub use self::rules::{Endpoint, OtherParameters, Rules, ServerProfile, UnknownClients};
