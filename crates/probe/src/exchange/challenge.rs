//! Challenges (RFC 9110 §11.6.1): several can stand in one line.

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, as it is spelled.
    pub scheme: String,
    /// The parameters in order, names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter; of the first, if it stands there twice.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the challenges of a line, or says what is wrong with it.
///
/// # Errors
/// What is not as the grammar has it.
pub fn read(line: &str) -> Result<Vec<Challenge>, &'static str> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for piece in pieces(line)? {
        let piece = piece.trim();
        if piece.is_empty() {
            continue;
        }
        // A scheme stands alone, or before its first parameter.
        let (scheme, parameter) = match piece.split_once([' ', '\t']) {
            _ if is_parameter(piece) => (None, Some(piece)),
            Some((scheme, parameter)) => (Some(scheme), Some(parameter.trim())),
            None => (Some(piece), None),
        };
        if let Some(scheme) = scheme {
            if !is_token(scheme) {
                return Err("no scheme");
            }
            challenges.push(Challenge { scheme: scheme.to_owned(), parameters: Vec::new() });
        }
        let challenge = challenges.last_mut().ok_or("a parameter without a scheme")?;
        if let Some(parameter) = parameter.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or("a parameter without a value")?;
            let name = name.trim().to_ascii_lowercase();
            if !is_token(&name) {
                return Err("a name of a parameter that is none");
            }
            if challenge.parameters.iter().any(|(known, _)| *known == name) {
                return Err("a parameter twice");
            }
            challenge.parameters.push((name, unquoted(value.trim())));
        }
    }
    match challenges.is_empty() {
        true => Err("no challenge"),
        false => Ok(challenges),
    }
}

/// Whether a piece is `name = value`, with nothing before the name.
fn is_parameter(piece: &str) -> bool {
    piece.split_once('=').is_some_and(|(name, _)| is_token(name.trim_end()))
}

/// The text between commas that are outside of quotes.
fn pieces(line: &str) -> Result<Vec<&str>, &'static str> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut pieces = Vec::new();
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                pieces.push(line.get(start..at).unwrap_or_default());
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a quote that is not closed");
    }
    pieces.push(line.get(start..).unwrap_or_default());
    Ok(pieces)
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let challenges = match read(line) {
            Ok(challenges) => challenges,
            Err(error) => return error.to_owned(),
        };
        let shown = challenges.iter().map(|challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", challenge.scheme, parameters.collect::<String>())
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn challenges_are_read_whether_together_or_apart() {
        for (line, expected) in [
            ("Bearer realm=\"a, b\", error=\"x\"", "Bearer realm=a, b error=x"),
            ("DPoP algs=\"ES256 PS256\", Bearer realm=\"a\"", "DPoP algs=ES256 PS256 | Bearer realm=a"),
            ("DPoP", "DPoP"),
            ("DPoP, Bearer error = x", "DPoP | Bearer error=x"),
            (r#"Bearer realm="a \" b", error="x""#, "Bearer realm=a \" b error=x"),
            ("Bearer realm=\"a\", realm=\"b\"", "a parameter twice"),
            ("Bearer realm=\"a", "a quote that is not closed"),
            ("realm=\"a\"", "a parameter without a scheme"),
            ("Bearer realm", "a parameter without a value"),
            ("\u{e9} realm=a", "no scheme"),
            ("", "no challenge"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
