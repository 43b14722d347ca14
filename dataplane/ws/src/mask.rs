//! The mask that a client lays over each payload (RFC 6455 section 5.3): byte `i` goes through an exclusive or with
//! byte `i mod 4` of a key.

/// Takes the mask off in place; laying it on is the same act. `offset` is the number of payload bytes of this frame that
/// came before, so that a payload may be unmasked piece by piece. Eight bytes a step, which the compiler widens.
pub(crate) fn apply(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let mut turned = key;
    turned.rotate_left(offset % key.len());
    let [a, b, c, d] = turned;
    let twice = [a, b, c, d, a, b, c, d];
    let wide = u64::from_ne_bytes(twice);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(twice) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_masked_hello_of_the_rfc_reads_hello() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    proptest! {
        /// Taken off in two pieces at any place, the mask is the byte-wise definition.
        #[test]
        fn pieces_unmask_like_the_definition(
            payload in prop::collection::vec(any::<u8>(), 0..100),
            key: [u8; 4],
            cut in 0usize..100,
        ) {
            let expected: Vec<u8> = payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let cut = cut.min(payload.len());
            let mut pieces = payload;
            let (left, right) = pieces.split_at_mut(cut);
            apply(left, key, 0);
            apply(right, key, cut);
            prop_assert_eq!(pieces, expected);
        }
    }
}
