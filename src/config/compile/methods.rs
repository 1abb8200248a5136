//! The methods that a route accepts: each by its name, since there is no name for all of them.

use http::Method;

use super::Build;
use crate::config::error::KeyPath;

impl Build<'_> {
    pub(super) fn methods(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Method>> {
        let texts = self.distinct(at, texts, "name the methods that the route takes, such as `[GET, HEAD]`")?;
        let mut methods = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let upper = text.to_ascii_uppercase();
            let method = Method::from_bytes(text.as_bytes()).ok();
            let problem = match &method {
                _ if ["ALL", "ANY", "*"].contains(&&*upper) => {
                    format!(
                        "`{text}` stands for no method here, and none is allowed by omission; name each, such as `[GET, HEAD, POST, PUT, PATCH, DELETE]`"
                    )
                }
                None => format!("`{text}` is not a method; write one such as `GET`"),
                // RFC 9110 §9.1: "The method token is case-sensitive".
                Some(_) if *text != upper => format!("methods are case-sensitive; write `{upper}`"),
                Some(method) if method == Method::CONNECT || method == Method::TRACE => {
                    format!("`{method}` is never forwarded; remove it")
                }
                Some(_) => {
                    methods.push(method);
                    continue;
                }
            };
            self.problem(&at.index(index), problem);
            methods.push(None);
        }
        methods.into_iter().collect()
    }
}
