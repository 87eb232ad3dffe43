use super::verdict::QuotaState;

/// What a proxy that counts by itself asks to be charged: the way to a counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Keys and values, in the order of the proxy's configuration.
    pub entries: Vec<(String, String)>,
    /// What is charged, where that is not what the whole question says.
    pub hits: Option<u32>,
}

/// What becomes of a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaAnswer {
    /// The quota is used up.
    pub over: bool,
    /// It soon will be.
    pub near: bool,
    /// Nothing is refused for it.
    pub shadow: bool,
    /// Its state; nothing: no quota is about this.
    pub state: Option<QuotaState>,
}
