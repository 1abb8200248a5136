//! The profiles of signatures that can be named on the command line.

use fapi::signature::component::Component;
use fapi::signature::message::Message;
use fapi::signature::profile::{Content, Dpop, Profile};

use super::Subject;
use crate::commands::{BAD_USAGE, Failure};

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum ProfileName {
    /// That of requests in FAPI 2.0 HTTP Signatures.
    Fapi2Request,
    /// That of responses in FAPI 2.0 HTTP Signatures.
    Fapi2Response,
    /// Neither a tag, nor a component that has to be covered, nor an age.
    None,
}

impl ProfileName {
    /// The one that is named, or else the one for this message.
    pub(in crate::commands) fn of(named: Option<Self>, subject: &Subject) -> Result<Self, Failure> {
        let own = match subject.view() {
            Message::Request(_) => Self::Fapi2Request,
            Message::Response(_) => Self::Fapi2Response,
        };
        match named {
            Some(named) if named != own && named != Self::None => {
                let message = if own == Self::Fapi2Request { "a request" } else { "a response" };
                Err(Failure::new(BAD_USAGE, format!("--profile does not fit: the message is {message}")))
            }
            named => Ok(named.unwrap_or(own)),
        }
    }

    /// The value of `tag`, if signatures have to have one.
    pub(in crate::commands) const fn tag(self) -> Option<&'static str> {
        match self {
            Self::Fapi2Request => Some("fapi-2-request"),
            Self::Fapi2Response => Some("fapi-2-response"),
            Self::None => None,
        }
    }

    /// What it requires of a signature of this message.
    pub(in crate::commands) fn required(self, subject: &Subject) -> Vec<Component> {
        match self {
            Self::None => Vec::new(),
            Self::Fapi2Request | Self::Fapi2Response => rules(subject).required,
        }
    }

    /// The same with how old it may be.
    pub(in crate::commands) fn rules(self, subject: &Subject) -> Profile {
        match self {
            Self::None => anything(rules(subject)),
            Self::Fapi2Request | Self::Fapi2Response => rules(subject),
        }
    }
}

/// A profile whose signatures may cover anything, at any time.
pub(in crate::commands) fn anything(profile: Profile) -> Profile {
    Profile { required: Vec::new(), ..any_time(profile) }
}

/// A profile whose signatures may be of any time.
pub(in crate::commands) fn any_time(profile: Profile) -> Profile {
    Profile { max_age: u64::MAX, clock_skew: u64::MAX, ..profile }
}

fn rules(subject: &Subject) -> Profile {
    let message = subject.captured();
    let content = if message.content().is_empty() { Content::Absent } else { Content::Present };
    match subject.view() {
        Message::Request(request) => {
            let dpop = if request.headers.contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
            Profile::fapi2_request(dpop, content)
        }
        Message::Response(response) => Profile::fapi2_response(response.request.headers, content),
    }
}
