//! The security token service: temporary keys for who has a lasting one.
//!
//! A role is the caller's own account. What its temporary key may do is what the
//! caller's key may and the session's policy allows, never more. A parameter
//! that is not understood is refused, since it may have been meant to narrow
//! what the key may do.
//!
//! Not here: whether the caller is who it says (`guard`), tokens
//! (`auth::session`), and IAM, whose calls are answered that there are none.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use s3s::{Body, HttpResponse};
use time::OffsetDateTime;
use time::macros::format_description;

use super::guard::RequestIds;
use super::text::escape;
use crate::auth::credentials::CredentialError;
use crate::auth::identity::{Caller, Identity};
use crate::auth::policy::Policy;
use crate::auth::session::{Issued, NewSession, POLICY_MAX, is_temporary};
use crate::gateway::{Gateway, now_ms};
use crate::meta::Millis;

/// The namespace of the answers.
const XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// How many seconds a session may last: at least, at most, usually.
struct Lifetime(u32, u32, u32);

const ROLE: Lifetime = Lifetime(900, 43_200, 3_600);
const SESSION: Lifetime = Lifetime(900, 129_600, 43_200);

/// Why there is no answer but an error.
#[derive(Debug)]
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

fn fault(status: StatusCode, code: &'static str, message: impl Into<String>) -> Fault {
    Fault { status, code, message: message.into() }
}

fn invalid(message: impl Into<String>) -> Fault {
    fault(StatusCode::BAD_REQUEST, "ValidationError", message)
}

fn denied(message: impl Into<String>) -> Fault {
    fault(StatusCode::FORBIDDEN, "AccessDenied", message)
}

/// Answers a call. `form` is its body, of a caller that the guard has verified;
/// it may be anybody.
pub async fn handle(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    form: Vec<(String, String)>,
) -> HttpResponse {
    let id = RequestIds::random().request().to_string();
    let issue = |new| gateway.credentials.begin_session(&caller.identity, new);
    match answer(&caller.identity, form, now_ms(), issue) {
        Ok((action, result)) => document(
            StatusCode::OK,
            &format!(
                "<{action}Response xmlns=\"{XMLNS}\"><{action}Result>{result}</{action}Result>\
                 <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
                 </{action}Response>"
            ),
        ),
        Err(Fault { status, code, message }) => {
            tracing::debug!(code, message, "STS call refused");
            let message = escape(&message);
            document(
                status,
                &format!(
                    "<ErrorResponse xmlns=\"{XMLNS}\"><Error><Type>Sender</Type>\
                     <Code>{code}</Code><Message>{message}</Message></Error>\
                     <RequestId>{id}</RequestId></ErrorResponse>"
                ),
            )
        }
    }
}

fn document(status: StatusCode, xml: &str) -> HttpResponse {
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}\n");
    let mut response = HttpResponse::new(Body::from(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// The action and the inside of its result.
fn answer(
    who: &Identity,
    form: Vec<(String, String)>,
    now_ms: Millis,
    issue: impl FnOnce(NewSession) -> Result<Issued, CredentialError>,
) -> Result<(&'static str, String), Fault> {
    if who.is_anonymous() {
        let message = "Request is missing Authentication Token";
        return Err(fault(StatusCode::FORBIDDEN, "MissingAuthenticationToken", message));
    }
    let mut form = Form::new(form)?;
    let action = form.take("Action").unwrap_or_default();
    form.take("Version");
    let begin = |new| issue(new).map_err(|_| denied("This key cannot begin sessions."));
    match action.as_str() {
        "AssumeRole" => {
            let role = Role::parse(&form.required("RoleArn")?, who)?;
            let name = session_name(form.required("RoleSessionName")?)?;
            let policy = form.take("Policy").map(session_policy).transpose()?;
            let seconds = form.seconds(&ROLE)?;
            // Says who may ask for a role of another account; there are none.
            form.take("ExternalId");
            form.finish()?;
            refuse_temporary(who, "AssumeRole")?;
            let size = policy.as_ref().map(|policy| (policy.len() * 100).div_ceil(POLICY_MAX));
            let made = begin(NewSession { name: name.clone(), policy, now_ms, seconds })?;
            let (id, account) = (&who.canonical_id, escape(&role.path));
            let size = size.map_or(String::new(), |percent| {
                format!("<PackedPolicySize>{percent}</PackedPolicySize>")
            });
            let result = format!(
                "{}<AssumedRoleUser><AssumedRoleId>{}:{name}</AssumedRoleId>\
                 <Arn>arn:aws:sts::{id}:assumed-role/{account}/{name}</Arn></AssumedRoleUser>{size}",
                credentials(&made),
                made.id,
            );
            Ok(("AssumeRole", result))
        }
        "GetSessionToken" => {
            let seconds = form.seconds(&SESSION)?;
            form.finish()?;
            refuse_temporary(who, "GetSessionToken")?;
            let name = who.account_name.clone();
            let made = begin(NewSession { name, policy: None, now_ms, seconds })?;
            Ok(("GetSessionToken", credentials(&made)))
        }
        "GetCallerIdentity" => {
            form.finish()?;
            Ok(("GetCallerIdentity", identity(who)))
        }
        other => {
            let message = format!(
                "Could not find operation {other:?}: this service has AssumeRole, \
                                   GetSessionToken and GetCallerIdentity"
            );
            Err(fault(StatusCode::BAD_REQUEST, "InvalidAction", message))
        }
    }
}

/// A session that could begin others would never have to end.
fn refuse_temporary(who: &Identity, action: &str) -> Result<(), Fault> {
    match is_temporary(&who.access_key) {
        true => Err(denied(format!("Cannot call {action} with session credentials"))),
        false => Ok(()),
    }
}

fn credentials(made: &Issued) -> String {
    format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
        made.id,
        made.secret.as_str(),
        made.token,
        rfc3339(made.expires_ms),
    )
}

fn rfc3339(millis: Millis) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(millis / 1000)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}

fn identity(who: &Identity) -> String {
    let account = &who.canonical_id;
    let (user, arn) = match is_temporary(&who.access_key) {
        true => (
            format!("{account}:{}", who.access_key),
            format!("arn:aws:sts::{account}:assumed-role/session/{}", who.access_key),
        ),
        false => (account.clone(), format!("arn:aws:iam::{account}:root")),
    };
    format!("<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account>")
}

/// A role of the caller's own account.
struct Role {
    path: String,
}

impl Role {
    fn parse(arn: &str, who: &Identity) -> Result<Self, Fault> {
        let wrong =
            || invalid(format!("{arn:?} is invalid: a role is arn:aws:iam::ACCOUNT:role/NAME"));
        if arn.len() > 2048 {
            return Err(invalid("RoleArn may have at most 2048 characters"));
        }
        let rest = arn.strip_prefix("arn:aws:iam::").ok_or_else(wrong)?;
        let (account, resource) = rest.split_once(':').ok_or_else(wrong)?;
        let path = resource.strip_prefix("role/").ok_or_else(wrong)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
        if path.is_empty() || path.len() > 512 || !path.chars().all(allowed) {
            return Err(wrong());
        }
        if account != who.canonical_id && account != who.account_name {
            let message = "Not authorized to perform sts:AssumeRole: a role is one's own account";
            return Err(denied(message));
        }
        Ok(Self { path: path.to_owned() })
    }
}

fn session_name(name: String) -> Result<String, Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match (2..=64).contains(&name.len()) && name.chars().all(allowed) {
        true => Ok(name),
        false => Err(invalid("RoleSessionName has 2 to 64 letters, digits or _+=,.@-")),
    }
}

fn session_policy(json: String) -> Result<String, Fault> {
    if json.len() > POLICY_MAX {
        let message = format!("Policy has {} bytes, at most {POLICY_MAX}", json.len());
        return Err(fault(StatusCode::BAD_REQUEST, "PackedPolicyTooLarge", message));
    }
    match Policy::parse_identity(&json) {
        Ok(_) => Ok(json),
        Err(error) => {
            let message = format!("The policy is refused: {error}");
            Err(fault(StatusCode::BAD_REQUEST, "MalformedPolicyDocument", message))
        }
    }
}

/// The parameters of a call that were not looked at yet.
struct Form(Vec<(String, String)>);

impl Form {
    fn new(form: Vec<(String, String)>) -> Result<Self, Fault> {
        let twice = form
            .iter()
            .enumerate()
            .find(|(at, (name, _))| form[..*at].iter().any(|(before, _)| before == name));
        match twice {
            Some((_, (name, _))) => Err(invalid(format!("{name} stands there twice"))),
            None => Ok(Self(form)),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn required(&mut self, name: &str) -> Result<String, Fault> {
        let value = self.take(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| invalid(format!("{name} is required")))
    }

    fn seconds(&mut self, lifetime: &Lifetime) -> Result<u32, Fault> {
        let Lifetime(least, most, usual) = *lifetime;
        let Some(text) = self.take("DurationSeconds") else { return Ok(usual) };
        let seconds = text.parse().ok().filter(|seconds| (least..=most).contains(seconds));
        seconds
            .ok_or_else(|| invalid(format!("DurationSeconds is a number from {least} to {most}")))
    }

    /// Whatever is left was not understood.
    fn finish(&self) -> Result<(), Fault> {
        match self.0.first() {
            Some((name, _)) => Err(invalid(format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::session::tests_issue;
    use protocol::AccountId;

    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":
        {"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;

    fn ann() -> Identity {
        Identity {
            account: Some(AccountId([1; 16])),
            canonical_id: "ab".repeat(32),
            account_name: "ann".into(),
            access_key: "SKABC".into(),
            ..Identity::default()
        }
    }

    /// The answer, or the code of the error; an error begins no session.
    fn ask(who: &Identity, form: &[(&str, &str)]) -> Result<String, &'static str> {
        let form = form.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut issued = false;
        let answered = answer(who, form, 0, |new| {
            issued = true;
            Ok(tests_issue(new))
        });
        match answered {
            Ok((_, result)) => Ok(result),
            Err(fault) => {
                assert!(!issued, "{fault:?}");
                assert!(fault.status.is_client_error());
                Err(fault.code)
            }
        }
    }

    fn assume(extra: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", "arn:aws:iam::ann:role/any/thing"),
            ("RoleSessionName", "browser"),
        ];
        for (name, value) in extra {
            form.retain(|(known, _)| known != name);
            form.push((name, value));
        }
        ask(&ann(), &form)
    }

    #[test]
    fn a_role_of_ones_own_account_can_be_assumed() {
        let result = assume(&[("Policy", POLICY), ("DurationSeconds", "900")]).unwrap();
        assert!(result.contains("<Expiration>1970-01-01T00:15:00Z</Expiration>"), "{result}");
        assert!(result.contains(":assumed-role/any/thing/browser</Arn>"), "{result}");
        assert!(result.contains("<PackedPolicySize>6</PackedPolicySize>"), "{result}");
        let by_id = format!("arn:aws:iam::{}:role/x", "ab".repeat(32));
        let result = assume(&[("RoleArn", &by_id)]).unwrap();
        assert!(result.contains("<Expiration>1970-01-01T01:00:00Z</Expiration>"), "{result}");
    }

    #[test]
    fn s14_wrong_calls_begin_no_session() {
        let check = |extra: &[(&str, &str)], code: &str| {
            assert_eq!(assume(extra).err(), Some(code), "{extra:?}");
        };
        check(&[("RoleArn", "arn:aws:iam::bob:role/x")], "AccessDenied");
        check(&[("RoleArn", "arn:aws:iam:::role/x")], "AccessDenied");
        for arn in [
            "",
            "x",
            "arn:aws:iam::ann:user/x",
            "arn:aws:iam::ann:role/",
            "arn:aws:iam::ann:role/<",
        ] {
            check(&[("RoleArn", arn)], "ValidationError");
        }
        for name in ["", "a", "a b", "<a>", &"a".repeat(65)] {
            check(&[("RoleSessionName", name)], "ValidationError");
        }
        for seconds in ["", "899", "43201", "-900", "1e3", "99999999999999999999"] {
            check(&[("DurationSeconds", seconds)], "ValidationError");
        }
        check(&[("Policy", "{}")], "MalformedPolicyDocument");
        check(&[("Policy", "")], "MalformedPolicyDocument");
        check(&[("Policy", &" ".repeat(2049))], "PackedPolicyTooLarge");
        // What would have narrowed the session must not be passed over.
        check(
            &[("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnly")],
            "ValidationError",
        );
        check(&[("TokenCode", "123456")], "ValidationError");
        check(&[("Action", "AssumeRoleWithWebIdentity")], "InvalidAction");
        check(&[("Action", "")], "InvalidAction");
        let twice = [("Action", "GetSessionToken"), ("Action", "GetCallerIdentity")];
        assert_eq!(ask(&ann(), &twice).err(), Some("ValidationError"));
    }

    #[test]
    fn s14_nobody_and_sessions_begin_no_session() {
        let session = Identity { access_key: "STABC".into(), ..ann() };
        let role = [
            ("Action", "AssumeRole"),
            ("RoleArn", "arn:aws:iam::ann:role/x"),
            ("RoleSessionName", "browser"),
        ];
        let token = [("Action", "GetSessionToken")];
        for form in [&role[..], &token[..]] {
            assert_eq!(ask(&session, form).err(), Some("AccessDenied"));
            let nobody = ask(&Identity::anonymous(), form).err();
            assert_eq!(nobody, Some("MissingAuthenticationToken"));
        }
    }

    #[test]
    fn everybody_learns_who_they_are() {
        let who = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
        let id = "ab".repeat(32);
        let result = ask(&ann(), &who).unwrap();
        assert!(result.contains(&format!("<Arn>arn:aws:iam::{id}:root</Arn>")), "{result}");
        assert!(result.contains(&format!("<Account>{id}</Account>")), "{result}");
        let session = Identity { access_key: "STABC".into(), ..ann() };
        assert!(ask(&session, &who).unwrap().contains("assumed-role/session/STABC"));
        let token = [("Action", "GetSessionToken"), ("DurationSeconds", "129600")];
        assert!(ask(&ann(), &token).unwrap().contains("<Expiration>1970-01-02T12:00:00Z<"));
        let long = [("Action", "GetSessionToken"), ("DurationSeconds", "129601")];
        assert_eq!(ask(&ann(), &long).err(), Some("ValidationError"));
    }
}
