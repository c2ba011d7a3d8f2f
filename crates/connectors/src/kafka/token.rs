//! The token of SASL OAUTHBEARER. This build has no HTTP client for OIDC: a token comes from the pipeline file, or from a
//! file that whoever gets tokens keeps fresh.

use std::error::Error as StdError;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde_json::Value as Json;

use super::secret::Secret;

/// How long a token counts as good that does not say so itself. librdkafka asks again after four fifths of it.
const LIFETIME: Duration = Duration::from_secs(300);

/// The token as it is now. What the broker makes of it is its own business: a token that is no JWT has no name and is read
/// again every few minutes.
///
/// # Errors
/// The file can't be read.
pub(crate) fn oauth_token(secret: &Secret, base_dir: &Path) -> Result<OAuthToken, Box<dyn StdError>> {
    let token = secret.read(base_dir)?;
    let claims = claims(&token);
    let claim = |name: &str| claims.as_ref().and_then(|c| c.get(name));
    let assumed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + LIFETIME;
    let lifetime_ms = match claim("exp").and_then(Json::as_f64) {
        Some(seconds) => (seconds * 1000.0) as i64,
        None => i64::try_from(assumed.as_millis()).unwrap_or(i64::MAX),
    };
    let principal_name = claim("sub").and_then(Json::as_str).unwrap_or_default().to_owned();
    Ok(OAuthToken { token, principal_name, lifetime_ms })
}

/// The claims of a JWT; not verified, that is for the broker.
fn claims(token: &str) -> Option<Json> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_how_long_it_lasts() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"fraud","exp":2000000000}"#);
        let token = oauth_token(&Secret::Value(format!("e30.{payload}.")), Path::new("")).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("fraud", 2_000_000_000_000));
        let opaque = oauth_token(&Secret::Value("opaque".to_owned()), Path::new("")).unwrap();
        assert!(opaque.lifetime_ms > 1_600_000_000_000 && opaque.principal_name.is_empty());
    }
}
