//! What a gateway decides for each subscriber: selection, queues, gaps.
