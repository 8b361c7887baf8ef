//! Client settings, batch consume, produce, transactions, topics. The only room with `unsafe`;
//! knows nothing of what a record means.
