//! Secrets in the wrong place. No key takes one: settings are read, shown and copied in many places.

use crate::error::Refusal;

/// Parts of the names that secrets go by.
const PARTS: [&str; 9] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "credential",
    "access_key",
    "api_key",
    "private_key",
];

/// Whether the name of an unknown key or variable says that its value is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    PARTS.iter().any(|part| name.contains(part))
}

/// What is said of such a key. Never its value.
pub(crate) fn refusal() -> Refusal {
    Refusal::new(
        "a secret does not belong here: settings are read and shown in many places",
        "remove it, and give the secret in the environment or as a credential of the service manager (systemd: \
         LoadCredential=): AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3, SQUIRE_TOKEN or squire-token for \
         the daemon's token",
    )
}
