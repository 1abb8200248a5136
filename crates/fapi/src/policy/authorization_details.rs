//! What a route requires of `authorization_details` (RFC 9396).

use serde_json::{Map, Value};

use super::comparison::Comparison;
use super::error::{InvalidPolicy, PolicyError};
use super::request::{Part, RequestValues};
use super::value::Pointer;
use crate::text::{Names, printable};
use crate::token::Claims;

/// What one element of `authorization_details` must have, all of it. Elements are never put together, since each is a right of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailRule {
    kind: Box<str>,
    needs: DetailNeeds,
}

/// What an element must have beside its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailNeeds {
    /// Actions, all of these (RFC 9396 §2.2).
    pub actions: Vec<Box<str>>,
    /// Privileges, all of these.
    pub privileges: Vec<Box<str>>,
    /// Locations, all of these; compared exactly.
    pub locations: Vec<Box<str>>,
    /// Other members, and what they have to be.
    pub members: Vec<MemberRule>,
    /// The members beside those that the rule names which an element may have; by default, any.
    pub harmless_members: Option<Vec<Box<str>>>,
}

/// A member of an element, or a value within one, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    pointer: Pointer,
    needed: Comparison,
}

impl DetailRule {
    /// A rule for elements of this type, compared exactly.
    ///
    /// # Errors
    /// [`InvalidPolicy::DetailType`].
    pub fn new(kind: &str, needs: DetailNeeds) -> Result<Self, InvalidPolicy> {
        if kind.is_empty() { Err(InvalidPolicy::DetailType) } else { Ok(Self { kind: kind.into(), needs }) }
    }

    /// The type of the elements that it is about.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let lists = self.lists().into_iter().filter(|(_, wanted)| !wanted.is_empty());
        let lists = lists.map(|(name, wanted)| format!(", {name} {}", Names::of(wanted)));
        let members = self.needs.members.iter();
        let members = members.map(|member| format!(", {}", member.needed.shown(member.pointer.as_str())));
        let harmless = self.needs.harmless_members.as_ref().map(|names| match &**names {
            [] => ", no other members".to_owned(),
            names => format!(", no other members but {}", Names::of(names)),
        });
        let needs: String = lists.chain(members).chain(harmless).collect();
        format!("authorization_details with type {:?}{needs}", self.kind)
    }

    /// The elements that have everything but what is compared with the body; none if there is no such member.
    fn check_head(&self, entry: usize, elements: &[Value], head: Part<'_>) -> Result<Vec<usize>, PolicyError> {
        let (mut nearest, mut remaining) = (Nearest(None), Vec::new());
        for (index, element) in elements.iter().enumerate() {
            let Some(element) = element.as_object().filter(|_| kind_of(element) == Some(&*self.kind)) else { continue };
            match self.judge(element, head) {
                Ok(()) if self.compares_body() => remaining.push(index),
                Ok(()) => return Ok(Vec::new()),
                Err(lack) => nearest.consider(lack),
            }
        }
        if remaining.is_empty() { Err(self.refusal(entry, elements, nearest)) } else { Ok(remaining) }
    }

    /// Whether one of the elements that remain has what is compared with the body.
    fn check_body(
        &self,
        entry: usize,
        elements: &[Value],
        remaining: &[usize],
        body: &Map<String, Value>,
    ) -> Result<(), PolicyError> {
        let mut nearest = Nearest(None);
        for element in remaining.iter().filter_map(|index| elements.get(*index)?.as_object()) {
            match self.judge_members(element, Part::Body(body), 0) {
                Ok(_) => return Ok(()),
                Err(lack) => nearest.consider(lack),
            }
        }
        Err(self.refusal(entry, elements, nearest))
    }

    fn refusal(&self, entry: usize, elements: &[Value], nearest: Nearest<'_>) -> PolicyError {
        let why = match nearest.0 {
            Some(lack) => lack.why(),
            None if elements.is_empty() => "the token has none".to_owned(),
            None => format!("the token has the types {}", kinds(elements)),
        };
        PolicyError::AuthorizationDetailsInsufficient { entry, kind: printable(&self.kind), why: why.into() }
    }

    /// What an element lacks first, but for what is compared with the body.
    fn judge<'e>(&'e self, element: &'e Map<String, Value>, head: Part<'_>) -> Result<(), Lack<'e>> {
        let mut met = 0_usize;
        for (name, wanted) in self.lists() {
            let found = element.get(name).and_then(Value::as_array);
            let has = |wanted: &str| found.is_some_and(|found| found.iter().any(|one| one.as_str() == Some(wanted)));
            if let Some(missing) = wanted.iter().find(|wanted| !has(wanted)) {
                return Err(Lack { met, what: Missing::Entry(name, missing) });
            }
            met = met.saturating_add(1);
        }
        let met = self.judge_members(element, head, met)?;
        match &self.needs.harmless_members {
            Some(harmless) => {
                let surplus =
                    element.keys().find(|name| !self.names(name) && harmless.iter().all(|one| **one != ***name));
                surplus.map_or(Ok(()), |name| Err(Lack { met, what: Missing::Knowledge(name) }))
            }
            None => Ok(()),
        }
    }

    /// Judges the members that are compared with this part of the request, and with the head those that are compared with
    /// values; returns how much is met then.
    fn judge_members<'e>(
        &'e self,
        element: &'e Map<String, Value>,
        part: Part<'_>,
        mut met: usize,
    ) -> Result<usize, Lack<'e>> {
        let in_body = matches!(part, Part::Body(_));
        for member in self.needs.members.iter().filter(|member| member.needed.compares_body() == in_body) {
            member.judge(element, part).map_err(|what| Lack { met, what })?;
            met = met.saturating_add(1);
        }
        Ok(met)
    }

    /// Whether the body has to be read.
    fn compares_body(&self) -> bool {
        self.needs.members.iter().any(|member| member.needed.compares_body())
    }

    /// The members that are lists of texts (RFC 9396 §2.2), and what they must have.
    fn lists(&self) -> [(&'static str, &[Box<str>]); 3] {
        let DetailNeeds { actions, privileges, locations, .. } = &self.needs;
        [("actions", actions), ("privileges", privileges), ("locations", locations)]
    }

    /// Whether the rule says something about a member.
    fn names(&self, name: &str) -> bool {
        name == "type"
            || self.lists().iter().any(|(list, wanted)| *list == name && !wanted.is_empty())
            || self.needs.members.iter().any(|member| member.pointer.first() == name)
    }
}

impl MemberRule {
    /// A rule for the member that a JSON pointer into an element names, such as `/creditorAccount/iban`.
    ///
    /// # Errors
    /// [`InvalidPolicy::DetailPointer`], [`InvalidPolicy::ClaimValues`].
    pub fn new(pointer: &str, needed: Comparison) -> Result<Self, InvalidPolicy> {
        let pointer = Pointer::parse(pointer).ok_or(InvalidPolicy::DetailPointer)?;
        Ok(Self { pointer, needed: needed.checked()? })
    }

    fn judge<'e>(&'e self, element: &'e Map<String, Value>, part: Part<'_>) -> Result<(), Missing<'e>> {
        let value = self.pointer.find(|name| element.get(name)).ok_or(Missing::Member(&self.pointer))?;
        match self.needed.is_met_by(value, part) {
            Some(true) => Ok(()),
            Some(false) => Err(Missing::Value(&self.pointer)),
            None => Err(Missing::Request(&self.needed)),
        }
    }
}

/// The elements for each rule of which the body decides, by index; empty if the body is not needed.
#[derive(Debug, Default)]
pub(crate) struct Remaining(Vec<(usize, Vec<usize>)>);

impl Remaining {
    /// Whether the body is not needed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Checks that there is an element for each rule, as far as the header section says.
pub(super) fn check(
    rules: &[DetailRule],
    claims: &Claims,
    request: &dyn RequestValues,
) -> Result<Remaining, PolicyError> {
    let mut all = Remaining::default();
    if rules.is_empty() {
        return Ok(all);
    }
    let elements = elements(claims).ok_or(PolicyError::AuthorizationDetailsMalformed)?;
    for (entry, rule) in rules.iter().enumerate() {
        let remaining = rule.check_head(entry, elements, Part::Head(request))?;
        if !remaining.is_empty() {
            all.0.push((entry, remaining));
        }
    }
    Ok(all)
}

/// Checks that there is one for each rule of which the body decides.
pub(super) fn check_body(
    rules: &[DetailRule],
    claims: &Claims,
    remaining: &Remaining,
    body: &Map<String, Value>,
) -> Result<(), PolicyError> {
    let elements = elements(claims).ok_or(PolicyError::AuthorizationDetailsMalformed)?;
    for (entry, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.compares_body()) {
        let remaining =
            remaining.0.iter().find(|(other, _)| *other == entry).map_or(&[][..], |(_, remaining)| remaining);
        rule.check_body(entry, elements, remaining, body)?;
    }
    Ok(())
}

/// Whether one of the rules compares an element with the body.
pub(super) fn compare_body(rules: &[DetailRule]) -> bool {
    rules.iter().any(DetailRule::compares_body)
}

/// The types of a token's elements, for operators, and nothing else of them: they are personal data (RFC 9396 §13).
pub(super) fn found(claims: &Claims) -> String {
    match elements(claims) {
        Some([]) => "no authorization_details".to_owned(),
        Some(elements) => format!("authorization_details with the types {}", kinds(elements)),
        None => "malformed authorization_details".to_owned(),
    }
}

/// RFC 9396 §2: "an array of objects", each of which has a `type`; §9.1, §9.2: a top-level claim of a JWT, and member of an
/// introspection response. `None` if it is anything else.
fn elements(claims: &Claims) -> Option<&[Value]> {
    let Some(value) = claims.get("authorization_details") else { return Some(&[]) };
    let elements = value.as_array()?;
    elements.iter().all(|element| kind_of(element).is_some()).then_some(elements)
}

/// The type of an element; `None` if it is not an object.
fn kind_of(element: &Value) -> Option<&str> {
    element.get("type")?.as_str()
}

fn kinds(elements: &[Value]) -> Names {
    Names::of(elements.iter().filter_map(kind_of))
}

/// The element that meets most of a rule; the first of several.
struct Nearest<'e>(Option<Lack<'e>>);

impl<'e> Nearest<'e> {
    fn consider(&mut self, lack: Lack<'e>) {
        if self.0.as_ref().is_none_or(|nearest| nearest.met < lack.met) {
            self.0 = Some(lack);
        }
    }
}

/// Why an element does not meet a rule.
struct Lack<'e> {
    /// How much of the rule it meets.
    met: usize,
    what: Missing<'e>,
}

enum Missing<'e> {
    /// An entry of this list.
    Entry(&'static str, &'e str),
    /// This member.
    Member(&'e Pointer),
    /// The value that this member has to have.
    Value(&'e Pointer),
    /// What the request should have for this comparison.
    Request(&'e Comparison),
    /// A rule that knows the member with this name.
    Knowledge(&'e str),
}

impl Lack<'_> {
    /// The reason, for operators: which member, and not what it is.
    fn why(&self) -> String {
        match &self.what {
            Missing::Entry(list, entry) => format!("the nearest has no {entry:?} in {list}"),
            Missing::Member(pointer) => format!("the nearest has no {}", pointer.as_str()),
            Missing::Value(pointer) => format!("{} of the nearest is not what it has to be", pointer.as_str()),
            Missing::Request(comparison) => comparison.lack_of_request(),
            Missing::Knowledge(name) => format!("the nearest has the member {:?}, which may limit it", printable(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::super::{BodyMember, Operand, Scalar};
    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    /// `GET /accounts/1001/balances?view=full`.
    struct Sent;

    impl RequestValues for Sent {
        fn method(&self) -> &str {
            "GET"
        }

        fn segment(&self, index: usize) -> Option<Cow<'_, str>> {
            ["accounts", "1001", "balances"].get(index).map(|segment| (*segment).into())
        }

        fn query(&self) -> Option<&str> {
            Some("view=full")
        }
    }

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    fn text(text: &str) -> Operand {
        Operand::Value(Scalar::Text(text.into()))
    }

    fn path(segment: usize) -> Operand {
        Operand::Path { name: "account_id".into(), segment }
    }

    fn judge(rules: &[DetailRule], details: &Value) -> Result<(), PolicyError> {
        let mut answer = json!({ "active": true, "authorization_details": details });
        answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let remaining = check(rules, introspected(&answer, UnixTime(0)).claims_for_audit(), &Sent)?;
        assert!(remaining.is_empty(), "no rule compares the body");
        Ok(())
    }

    /// The same for rules that compare the body.
    fn judge_body(rules: &[DetailRule], details: &Value, body: &Value) -> Result<(), String> {
        let answer = json!({ "active": true, "authorization_details": details });
        let token = introspected(&answer, UnixTime(0));
        let claims = token.claims_for_audit();
        let remaining = check(rules, claims, &Sent).map_err(|error| format!("head: {error}"))?;
        assert!(!remaining.is_empty(), "the body decides");
        check_body(rules, claims, &remaining, body.as_object().unwrap()).map_err(|error| error.to_string())
    }

    fn rule(needs: DetailNeeds) -> DetailRule {
        DetailRule::new("account_information", needs).unwrap()
    }

    fn member(pointer: &str, needed: Comparison) -> DetailRule {
        rule(DetailNeeds { members: vec![MemberRule::new(pointer, needed).unwrap()], ..DetailNeeds::default() })
    }

    /// Why the only rule is not met.
    fn why(rule: &DetailRule, details: Value) -> Option<String> {
        match judge(std::slice::from_ref(rule), &details) {
            Ok(()) => None,
            Err(PolicyError::AuthorizationDetailsInsufficient { entry: 0, kind, why }) => {
                assert_eq!(&*kind, "account_information");
                Some(why.into())
            }
            Err(error) => panic!("{details}: {error}"),
        }
    }

    #[test]
    fn rar_01_the_claim_is_a_list_of_objects_that_have_a_type() {
        let rules = [rule(DetailNeeds::default())];
        assert_eq!(judge(&rules, &json!([{ "type": "account_information" }, { "type": "other" }])), Ok(())); // control
        for details in [
            json!({ "type": "account_information" }),
            json!("account_information"),
            json!(false),
            json!([{ "type": "account_information" }, {}]),
            json!([{ "type": "account_information" }, { "type": 1 }]),
            json!([{ "type": "account_information" }, { "type": null }]),
            json!([{ "type": "account_information" }, "account_information"]),
            json!([[{ "type": "account_information" }]]),
        ] {
            assert_eq!(judge(&rules, &details), Err(PolicyError::AuthorizationDetailsMalformed), "{details}");
            assert_eq!(judge(&[], &details), Ok(()), "a route without rules does not look at it: {details}");
        }
    }

    #[test]
    fn rar_04_an_element_has_the_type_of_the_rule() {
        let rule = rule(DetailNeeds::default());
        assert_eq!(why(&rule, json!([{ "type": "account_information", "more": 1 }])), None); // control
        for (details, expected) in [
            (json!(null), "the token has none"),
            (json!([]), "the token has none"),
            (json!([{ "type": "payment" }, { "type": "a\n" }]), r#"the token has the types ["payment", "a?"]"#),
            (json!([{ "type": "Account_Information" }]), r#"the token has the types ["Account_Information"]"#),
        ] {
            assert_eq!(why(&rule, details.clone()).as_deref(), Some(expected), "{details}");
        }
    }

    #[test]
    fn rar_03_one_element_has_everything_and_two_are_not_put_together() {
        let rule = rule(DetailNeeds {
            actions: names(&["read", "write"]),
            privileges: names(&["admin"]),
            locations: names(&["https://a.example/x"]),
            ..DetailNeeds::default()
        });
        let element = |actions: Value, privileges: Value, locations: Value| json!({ "type": "account_information", "actions": actions, "privileges": privileges, "locations": locations });
        let good = element(json!(["write", "list", "read"]), json!(["admin"]), json!(["https://a.example/x"]));
        assert_eq!(why(&rule, json!([{ "type": "account_information" }, good])), None); // control
        let admin = || json!(["admin"]);
        let here = || json!(["https://a.example/x"]);
        for (details, expected) in [
            (json!([element(json!(["read"]), admin(), here())]), r#"the nearest has no "write" in actions"#),
            (json!([element(json!(["READ", "write"]), admin(), here())]), r#"the nearest has no "read" in actions"#),
            (json!([element(json!("read write"), admin(), here())]), r#"the nearest has no "read" in actions"#),
            (
                json!([element(json!({ "read": 1, "write": 1 }), admin(), here())]),
                r#"the nearest has no "read" in actions"#,
            ),
            (
                json!([element(json!(["read", "write"]), json!([]), here())]),
                r#"the nearest has no "admin" in privileges"#,
            ),
            (
                json!([element(json!(["read", "write"]), admin(), json!(["https://a.example/x/"]))]),
                r#"the nearest has no "https://a.example/x" in locations"#,
            ),
            (json!([{ "type": "account_information" }]), r#"the nearest has no "read" in actions"#),
            // One has the actions, the other the privilege.
            (
                json!([
                    element(json!(["read"]), admin(), here()),
                    element(json!(["read", "write"]), json!([]), here())
                ]),
                r#"the nearest has no "admin" in privileges"#,
            ),
            (
                json!([element(json!(["read"]), admin(), here()), element(json!(["write"]), admin(), here())]),
                r#"the nearest has no "write" in actions"#,
            ),
            // Everything, in an element of another type.
            (
                json!([{ "type": "other", "actions": ["read", "write"], "privileges": ["admin"], "locations": here() }]),
                r#"the token has the types ["other"]"#,
            ),
        ] {
            assert_eq!(why(&rule, details.clone()).as_deref(), Some(expected), "{details}");
        }
    }

    #[test]
    fn a_member_is_compared_with_a_value_or_with_the_request() {
        let details = |member: Value| json!([{ "type": "account_information", "a": member }]);
        let missing = Some("the nearest has no /a".to_owned());
        let other = Some("/a of the nearest is not what it has to be".to_owned());
        for (needed, good, bad) in [
            (Comparison::Equals(text("x")), json!("x"), vec![json!("X"), json!(["x"]), json!(1), json!(null)]),
            (Comparison::Equals(Operand::Value(Scalar::Number(2))), json!(2), vec![json!("2"), json!(2.0), json!(3)]),
            (
                Comparison::OneOf(vec![Scalar::Bool(true), Scalar::Number(1)]),
                json!(true),
                vec![json!("true"), json!(0)],
            ),
            (Comparison::Equals(path(1)), json!("1001"), vec![json!(1001), json!("1002"), json!(["1001"]), json!("")]),
            (
                Comparison::Contains(path(1)),
                json!([1, "1002", "1001"]),
                vec![json!([1001]), json!("1001"), json!("x1001"), json!(["10010"]), json!([]), json!([["1001"]])],
            ),
            (Comparison::Equals(Operand::Query("view".into())), json!("full"), vec![json!("Full"), json!(true)]),
            (Comparison::Contains(Operand::Method), json!(["GET", "HEAD"]), vec![json!(["POST"]), json!(["get"])]),
            (Comparison::Contains(text("GET")), json!(["GET"]), vec![json!("GET"), json!({ "GET": "GET" })]),
        ] {
            let rule = member("/a", needed);
            assert_eq!(why(&rule, details(good.clone())), None, "{} {good}", rule.shown()); // control
            for bad in bad {
                assert_eq!(why(&rule, details(bad.clone())), other, "{} {bad}", rule.shown());
            }
            assert_eq!(why(&rule, json!([{ "type": "account_information", "A": good }])), missing);
        }
        // What the request does not have is equal to nothing.
        for operand in [path(3), Operand::Query("other".into())] {
            let expected = Some(format!("{} is missing or has more than one reading", operand.shown()));
            for value in [json!(null), json!(""), json!("1001")] {
                assert_eq!(why(&member("/a", Comparison::Equals(operand.clone())), details(value)), expected);
            }
        }
        let deep = member("/a/0/b~1c", Comparison::Equals(text("x")));
        assert_eq!(why(&deep, details(json!([{ "b/c": "x" }]))), None); // control
        assert!(why(&deep, details(json!([{ "b/c": "y" }, { "b/c": "x" }]))).is_some());
    }

    #[test]
    fn every_match_is_met_by_the_same_element() {
        let members = [("/account", path(1)), ("/view", Operand::Query("view".into()))];
        let members = members.map(|(pointer, operand)| MemberRule::new(pointer, Comparison::Equals(operand)).unwrap());
        let rule = rule(DetailNeeds { members: members.into(), ..DetailNeeds::default() });
        let element =
            |account: &str, view: &str| json!({ "type": "account_information", "account": account, "view": view });
        assert_eq!(why(&rule, json!([element("1002", "full"), element("1001", "full")])), None); // control
        let apart = json!([element("1001", "short"), element("1002", "full")]);
        assert_eq!(why(&rule, apart).as_deref(), Some("/view of the nearest is not what it has to be"));
    }

    #[test]
    fn rar_04_other_members_are_harmless_if_the_rule_says_so() {
        let needs = |harmless: Option<&[&str]>| DetailNeeds {
            actions: names(&["read"]),
            members: vec![MemberRule::new("/account/id", Comparison::Equals(path(1))).unwrap()],
            harmless_members: harmless.map(names),
            ..DetailNeeds::default()
        };
        let element = |name: &str| {
            let mut element =
                json!({ "type": "account_information", "actions": ["read"], "account": { "id": "1001" } });
            element[name] = json!("2027-01-01");
            json!([element])
        };
        let limits = |name: &str| Some(format!("the nearest has the member {name:?}, which may limit it"));
        assert_eq!(why(&rule(needs(None)), element("until")), None); // control
        for (harmless, name, expected) in [
            (&["note"][..], "note", None),
            (&["note"], "until", limits("until")),
            (&[], "until", limits("until")),
            (&["note"], "Note", limits("Note")),
            (&["note"], "locations", limits("locations")),
            (&["note"], "privileges", limits("privileges")),
        ] {
            assert_eq!(why(&rule(needs(Some(harmless))), element(name)), expected, "{harmless:?} {name}");
        }
    }

    #[test]
    fn there_is_an_element_for_each_rule_and_the_first_without_one_is_named() {
        let other = DetailRule::new("payment", DetailNeeds::default()).unwrap();
        let rules = [rule(DetailNeeds::default()), other];
        assert_eq!(judge(&rules, &json!([{ "type": "payment" }, { "type": "account_information" }])), Ok(())); // control
        let refused = judge(&rules, &json!([{ "type": "account_information" }])).unwrap_err();
        let text = r#"no element of authorization_details meets entry 1 of the route, type "payment": the token has the types ["account_information"]"#;
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn rar_09_operators_see_which_member_and_not_what_it_is() {
        let rule = rule(DetailNeeds {
            actions: names(&["read"]),
            members: vec![
                MemberRule::new("/accounts", Comparison::Contains(path(1))).unwrap(),
                MemberRule::new("/view", Comparison::OneOf(vec![Scalar::Bool(true)])).unwrap(),
                MemberRule::new("/a", Comparison::Equals(Operand::Query("b".into()))).unwrap(),
                MemberRule::new("/m", Comparison::Equals(Operand::Method)).unwrap(),
            ],
            harmless_members: Some(names(&["note"])),
            ..DetailNeeds::default()
        });
        assert_eq!(
            rule.shown(),
            r#"authorization_details with type "account_information", actions ["read"], /accounts with {account_id} of the path, /view one of [true], /a equal to "b" of the query, /m equal to the method, no other members but ["note"]"#
        );
        let details = json!([{ "type": "account_information", "actions": ["read"], "accounts": ["DE02 secret"] }]);
        let refused = judge(std::slice::from_ref(&rule), &details).unwrap_err().to_string();
        assert!(refused.contains("/accounts") && !refused.contains("secret"), "{refused}");
        let shown = |details: Value| {
            found(
                introspected(&json!({ "active": true, "authorization_details": details }), UnixTime(0))
                    .claims_for_audit(),
            )
        };
        assert_eq!(shown(details), r#"authorization_details with the types ["account_information"]"#);
        assert_eq!(shown(json!([])), "no authorization_details");
        assert_eq!(shown(json!({})), "malformed authorization_details");
    }

    #[test]
    fn a_rule_without_type_pointer_or_values_does_not_exist() {
        assert!(DetailRule::new("a", DetailNeeds::default()).is_ok()); // control
        assert_eq!(DetailRule::new("", DetailNeeds::default()), Err(InvalidPolicy::DetailType));
        let equals = || Comparison::Equals(text("a"));
        assert!(MemberRule::new("/a", equals()).is_ok()); // control
        for pointer in ["", "a", "/a~2", "#/a"] {
            assert_eq!(MemberRule::new(pointer, equals()), Err(InvalidPolicy::DetailPointer), "{pointer:?}");
        }
        assert_eq!(MemberRule::new("/a", Comparison::OneOf(Vec::new())), Err(InvalidPolicy::ClaimValues));
    }

    fn of_body(pointer: &str) -> BodyMember {
        BodyMember::new(pointer).unwrap()
    }

    /// A payment of at most so many euros to this account.
    fn payment(iban: &str, amount: &str) -> Value {
        json!({
            "type": "account_information",
            "actions": ["initiate"],
            "creditorAccount": { "iban": iban },
            "instructedAmount": { "currency": "EUR", "amount": amount },
        })
    }

    fn paid() -> DetailRule {
        let equals = Comparison::Equals(Operand::Body(of_body("/creditorAccount/iban")));
        rule(DetailNeeds {
            actions: names(&["initiate"]),
            members: vec![
                MemberRule::new("/creditorAccount/iban", equals).unwrap(),
                MemberRule::new("/instructedAmount", Comparison::Covers(of_body("/instructedAmount"))).unwrap(),
            ],
            ..DetailNeeds::default()
        })
    }

    #[test]
    fn a_member_is_compared_with_the_body() {
        let body = |iban: Value, amount: Value| json!({ "creditorAccount": { "iban": iban }, "instructedAmount": { "currency": "EUR", "amount": amount }, "more": 1 });
        let judge = |details: &Value, body: &Value| {
            judge_body(&[paid()], details, body).map_err(|error| error.rsplit(": ").next().unwrap().to_owned())
        };
        let granted = json!([payment("DE02", "100.00")]);
        for amount in ["100.00", "100", "0.01", "99.99999"] {
            assert_eq!(judge(&granted, &body(json!("DE02"), json!(amount))), Ok(()), "{amount}"); // control
        }
        let (iban, amount) = (
            "/creditorAccount/iban of the nearest is not what it has to be",
            "/instructedAmount of the nearest is not what it has to be",
        );
        let (no_iban, no_amount) = (
            "/creditorAccount/iban of the body is missing or has more than one reading",
            "/instructedAmount of the body is not an amount",
        );
        for (body, expected) in [
            (body(json!("DE03"), json!("1.00")), iban),
            (body(json!("de02"), json!("1.00")), iban),
            (body(json!(["DE02"]), json!("1.00")), iban),
            (body(json!("DE02"), json!("100.01")), amount),
            (body(json!("DE02"), json!("1000")), amount),
            (body(json!("DE02"), json!(1)), no_amount),
            (body(json!("DE02"), json!("1e2")), no_amount),
            (body(json!("DE02"), json!("-0")), no_amount),
            (body(json!("DE02"), json!("-1.00")), no_amount),
            (body(json!("DE02"), json!("00.1")), no_amount),
            (body(json!("DE02"), json!("+1")), no_amount),
            (body(json!("DE02"), json!("\u{661}")), no_amount),
            (json!({}), no_iban),
            (json!({ "creditorAccount": { "iban": "DE02" } }), no_amount),
            (
                json!({ "creditorAccount": { "iban": "DE02" }, "instructedAmount": { "currency": "USD", "amount": "1.00" } }),
                amount,
            ),
            (json!({ "creditorAccount": { "iban": "DE02", "IBAN": "DE03" } }), no_iban),
            (json!({ "creditorAccount": [{ "iban": "DE02" }] }), no_iban),
        ] {
            assert_eq!(judge(&granted, &body), Err(expected.to_owned()), "{body}");
        }
        // What is granted is read as strictly.
        let wanted = body(json!("DE02"), json!("1.00"));
        for value in ["1e2", "", "100,00", "+100"] {
            assert_eq!(judge(&json!([payment("DE02", value)]), &wanted), Err(amount.to_owned()), "{value}");
        }
        // A list that contains the member.
        let listed = member("/ibans", Comparison::Contains(Operand::Body(of_body("/iban"))));
        let details = json!([{ "type": "account_information", "ibans": ["DE01", "DE02"] }]);
        assert_eq!(judge_body(std::slice::from_ref(&listed), &details, &json!({ "iban": "DE02" })), Ok(())); // control
        assert!(judge_body(std::slice::from_ref(&listed), &details, &json!({ "iban": "DE03" })).is_err());
    }

    #[test]
    fn rar_03_the_body_is_that_of_one_element_which_the_head_is_of_too() {
        let body = json!({ "creditorAccount": { "iban": "DE02" }, "instructedAmount": { "currency": "EUR", "amount": "50.00" } });
        let judge = |details: Value| judge_body(&[paid()], &details, &body);
        assert_eq!(judge(json!([payment("DE03", "500.00"), payment("DE02", "50.00")])), Ok(())); // control
        assert!(judge(json!([payment("DE03", "500.00"), payment("DE02", "5.00")])).is_err());
        let mut read_only = payment("DE02", "50.00");
        read_only["actions"] = json!(["read"]);
        assert!(
            judge(json!([payment("DE03", "50.00"), read_only.clone()]))
                .unwrap_err()
                .contains("/creditorAccount/iban of")
        );
        // Refused before the body is read, if no element could do.
        assert!(judge(json!([read_only])).unwrap_err().starts_with("head: "));
        assert!(judge(json!([])).unwrap_err().starts_with("head: "));
    }

    #[test]
    fn a_rule_without_the_body_beside_one_with_it_is_judged_before_it() {
        let rules = [DetailRule::new("view", DetailNeeds::default()).unwrap(), paid()];
        let body = json!({ "creditorAccount": { "iban": "DE02" }, "instructedAmount": { "currency": "EUR", "amount": "1.00" } });
        let view = json!({ "type": "view" });
        assert_eq!(judge_body(&rules, &json!([view, payment("DE02", "1.00")]), &body), Ok(())); // control
        let refused = judge_body(&rules, &json!([payment("DE02", "1.00")]), &body).unwrap_err();
        assert!(refused.starts_with("head: ") && refused.contains("entry 0"), "{refused}");
        let refused = judge_body(&rules, &json!([view, payment("DE03", "1.00")]), &body).unwrap_err();
        assert!(refused.contains("entry 1"), "{refused}");
        assert!(compare_body(&rules) && !compare_body(&rules[..1]));
    }
}
