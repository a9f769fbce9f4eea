//! What a newer build wrote.

/// Fields that this build does not know. Each manifest repeats them: else the first write of an older process would take
/// them away.
pub type UnknownFields = serde_json::Map<String, serde_json::Value>;
