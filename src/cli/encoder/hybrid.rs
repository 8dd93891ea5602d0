//! Small numbers as Parquet packs them: "Run Length Encoding / Bit-Packing Hybrid" of its Encodings.

/// Numbers that are packed together.
const GROUP: usize = 8;
/// Groups of one run, at most, so that its header stays short.
const MAX_GROUPS: usize = 1 << 12;

/// How many bits numbers up to this one take.
pub(super) fn bit_width(max: u32) -> u8 {
    // At most 32.
    (u32::BITS - max.leading_zeros()) as u8
}

/// Appends numbers of so many bits each, from the lowest bit of each byte on, and zeros to the end of the last byte.
pub(super) fn pack(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0);
    for &number in numbers {
        bits |= u64::from(number) << count;
        count += u32::from(width);
        if count >= u32::BITS {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= u32::BITS;
            count -= u32::BITS;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(u8::BITS) as usize]);
}

/// Appends numbers as runs: of one number that repeats, or of packed ones.
pub(super) fn encode(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    // What is packed begins here.
    let mut first = 0;
    let mut at = 0;
    while at < numbers.len() {
        let repeats = numbers[at..].iter().take_while(|&&number| number == numbers[at]).count();
        if repeats >= GROUP {
            put_packed(&numbers[first..at], width, out);
            put_varint((repeats as u64) << 1, out);
            let bytes = usize::from(width).div_ceil(8);
            out.extend_from_slice(&numbers[at].to_le_bytes()[..bytes]);
            at += repeats;
            first = at;
        } else {
            // Packed runs have whole groups: only the last one may be short.
            at = (at + GROUP).min(numbers.len());
        }
    }
    put_packed(&numbers[first..], width, out);
}

fn put_packed(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    for run in numbers.chunks(MAX_GROUPS * GROUP) {
        let groups = run.len().div_ceil(GROUP);
        put_varint((groups as u64) << 1 | 1, out);
        let end = out.len() + groups * usize::from(width);
        pack(run, width, out);
        // A short group is filled up.
        out.resize(end, 0);
    }
}

fn put_varint(number: u64, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(number, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a bit at a time, as the specification says it.
    fn decode(mut encoded: &[u8], width: usize, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while !encoded.is_empty() {
            let header = prost::encoding::decode_varint(&mut encoded).expect("a header");
            let runs = usize::try_from(header >> 1).expect("a length");
            let (bytes, bits) =
                if header & 1 == 1 { (runs * width, 8 * runs * width) } else { (width.div_ceil(8), width) };
            let (run, rest) = encoded.split_at(bytes);
            let bit = |at: usize| u32::from(run[at / 8] >> (at % 8) & 1);
            let number = |first: usize| (0..width).map(|at| bit(first + at) << at).sum::<u32>();
            if header & 1 == 1 {
                numbers.extend((0..8 * runs).map(|index| number(index * width)));
            } else {
                assert_eq!(bits, width);
                numbers.extend(vec![number(0); runs]);
            }
            encoded = rest;
        }
        // Only what fills up the last group may follow.
        assert!(numbers.len() < count + GROUP && numbers[count..].iter().all(|&number| number == 0));
        numbers.truncate(count);
        numbers
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(
            runs in prop::collection::vec((any::<u32>(), prop_oneof![1..4_usize, 5..40_usize]), 0..60), width in 0..=32_u8,
        ) {
            let mask = u32::try_from((1_u64 << width) - 1).expect("32 bits");
            let numbers: Vec<u32> = runs.iter().flat_map(|&(number, count)| vec![number & mask; count]).collect();
            let mut encoded = Vec::new();
            encode(&numbers, width, &mut encoded);
            prop_assert_eq!(decode(&encoded, width.into(), numbers.len()), numbers);
        }
    }

    #[test]
    fn runs_are_short_and_others_are_packed() {
        let encoded = |numbers: &[u32], width| {
            let mut out = Vec::new();
            encode(numbers, width, &mut out);
            out
        };
        assert_eq!(encoded(&[7; 1000], 3), [0xd0, 0x0f, 7]);
        assert_eq!(encoded(&[0; 5], 0), [1 << 1 | 1]);
        // The specification's example.
        assert_eq!(encoded(&[0, 1, 2, 3, 4, 5, 6, 7], 3), [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(bit_width), [0, 1, 2, 8, 9, 32]);
        // More than a run of packed ones may have.
        let many: Vec<u32> = (0..70_000).map(|n| n % 5).collect();
        assert_eq!(decode(&encoded(&many, 3), 3, many.len()), many);
    }
}
