//! The form of the body that tells a client of a refusal: plain JSON, a problem (RFC 9457), or a template; and a page for people.

mod accept;
mod page;
mod template;
pub(crate) mod told;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use self::accept::prefers;
pub(crate) use self::page::protect;
pub use self::template::{ErrorNames, ErrorTemplate, TemplateError, Variable};
pub use self::told::Told;
use crate::ecosystem::{Ecosystem, ErrorBody};

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
    /// The form of an ecosystem, in which some refusals have no body.
    Ecosystem(Ecosystem),
}

impl ErrorFormat {
    /// The ecosystem whose form it is.
    pub(crate) const fn ecosystem(&self) -> Option<Ecosystem> {
        match self {
            Self::Ecosystem(ecosystem) => Some(*ecosystem),
            Self::Json | Self::Problem | Self::Template(_) => None,
        }
    }

    /// The value of `Content-Type` and the body; `None` if there is none. What is told has no character that JSON escapes.
    pub fn body(&self, told: &Told<'_>) -> Option<(HeaderValue, String)> {
        let Told { error, description, .. } = told;
        let members = || format!(r#""error":"{error}","error_description":"{description}""#);
        Some(match self {
            Self::Json => (HeaderValue::from_static("application/json"), format!("{{{}}}", members())),
            Self::Problem => {
                // RFC 9457 §4.2.1: with "about:blank", the title "SHOULD be the same as the recommended HTTP status
                // phrase for that code".
                let (title, status) = (told.reason(), told.status.as_u16());
                let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status},{}}}"#, members());
                (HeaderValue::from_static("application/problem+json"), body)
            }
            Self::Template(template) => (template.media_type().clone(), template.fill(told)),
            Self::Ecosystem(ecosystem) => match ecosystem.error(told) {
                ErrorBody::Empty => return None,
                ErrorBody::Json(media_type, value) => (media_type, value.to_string()),
                ErrorBody::Usual => return Self::Json.body(told),
            },
        })
    }

    /// The value of `Content-Type` and the body where a browser shows the answers: a page for who prefers HTML to this form.
    pub(crate) fn shown(&self, told: &Told<'_>, request: &HeaderMap) -> Option<(HeaderValue, String)> {
        let body = self.body(told);
        let media_type = body.as_ref().and_then(|(media_type, _)| media_type.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if prefers(request, page::HTML, essence) { Some((page::MEDIA_TYPE, page::page(told))) } else { body }
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
        let body = |format: ErrorFormat| format.body(&told).map(|(_, body)| body).unwrap();
        assert_eq!(body(ErrorFormat::Json), r#"{"error":"invalid_token","error_description":"It is not valid"}"#);
        assert_eq!(
            body(ErrorFormat::Problem),
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"error":"invalid_token","error_description":"It is not valid"}"#
        );
    }
}
