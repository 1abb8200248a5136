//! The form of the body that tells a client of a refusal: plain JSON, a problem (RFC 9457), or a template; and a page for people.

mod accept;
mod page;
mod template;
mod told;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use self::accept::prefers;
pub(crate) use self::page::protect;
pub use self::template::{ErrorNames, ErrorTemplate, TemplateError, Variable};
pub use self::told::Told;

/// The form of the body that tells a client of a refusal. None says more than the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `application/json` with `error` and `error_description`, the names of RFC 6749 §5.2.
    #[default]
    Json,
    /// `application/problem+json` with the same two members, after `type`, `title` and `status` (RFC 9457 §3.1).
    Problem,
    /// The form that others prescribe, such as the rules of an ecosystem.
    Template(Arc<ErrorTemplate>),
}

impl ErrorFormat {
    /// The value of `Content-Type`.
    pub fn media_type(&self) -> HeaderValue {
        match self {
            Self::Json => HeaderValue::from_static("application/json"),
            Self::Problem => HeaderValue::from_static("application/problem+json"),
            Self::Template(template) => template.media_type().clone(),
        }
    }

    /// The body. What is told has no character that JSON escapes.
    pub fn body(&self, told: &Told<'_>) -> String {
        let Told { error, description, .. } = told;
        let members = || format!(r#""error":"{error}","error_description":"{description}""#);
        match self {
            Self::Json => format!("{{{}}}", members()),
            Self::Problem => {
                // RFC 9457 §4.2.1: with "about:blank", the title "SHOULD be the same as the recommended HTTP status
                // phrase for that code".
                let (title, status) = (told.reason(), told.status.as_u16());
                format!(r#"{{"type":"about:blank","title":"{title}","status":{status},{}}}"#, members())
            }
            Self::Template(template) => template.fill(told),
        }
    }

    /// The value of `Content-Type` and the body where a browser shows the answers: a page for who prefers HTML to this form.
    pub(crate) fn shown(&self, told: &Told<'_>, request: &HeaderMap) -> (HeaderValue, String) {
        let media_type = self.media_type();
        let essence = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if prefers(request, page::HTML, essence) {
            (page::MEDIA_TYPE, page::page(told))
        } else {
            let body = self.body(told);
            (media_type, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::code::Code;

    #[test]
    fn a_problem_has_the_members_of_the_plain_body_and_three_more() {
        let told = Told {
            status: StatusCode::UNAUTHORIZED,
            code: Code::TokenExpired,
            error: "invalid_token",
            description: "It is not valid",
            interaction: "",
            time: None,
        };
        assert_eq!(ErrorFormat::Json.body(&told), r#"{"error":"invalid_token","error_description":"It is not valid"}"#);
        assert_eq!(
            ErrorFormat::Problem.body(&told),
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"error":"invalid_token","error_description":"It is not valid"}"#
        );
    }
}
