#![no_main]

use std::sync::{Arc, LazyLock};

use fapi::route::{CanonicalPath, Origin, PathCharacters, Pattern, Target};
use http::uri::PathAndQuery;
use http::{Request, Uri};

static ORIGIN: LazyLock<Arc<Origin>> =
    LazyLock::new(|| Arc::new(Origin::parse("https://api.example").expect("an origin")));

libfuzzer_sys::fuzz_target!(|path: &str| {
    let _ = Pattern::parse(path);
    if let Ok(accepted) = CanonicalPath::parse(path) {
        assert_eq!(accepted.as_str(), path);
    }
    let Ok(target) = PathAndQuery::try_from(path).map(Uri::from) else { return };
    let mut request = Request::new(());
    *request.uri_mut() = target;
    let (request, ()) = request.into_parts();
    let strict = Target::parse(&request, &ORIGIN);
    let uri = Target::parse_with(&request, &ORIGIN, PathCharacters::Uri);
    if let Ok(strict) = strict {
        assert_eq!(uri.expect("every canonical path is one of RFC 3986").path(), strict.path());
    }
});
