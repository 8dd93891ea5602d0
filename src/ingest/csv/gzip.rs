//! gzip with several members, and zeros after them, which tapes and copies of whole blocks append.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decompresses all members. Unlike the library's own reader, it skips zeros after a member, as gzip does.
pub(super) struct Gzip<R> {
    /// `None` at the end of the input.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            // Set again if there is another member.
            if let Some(member) = self.member.take() {
                let mut input = member.into_inner();
                if !is_at_end(&mut input)? {
                    self.member = Some(GzDecoder::new(input));
                }
            }
        }
        Ok(0)
    }
}

/// Skips zeros, and returns whether the input has ended.
fn is_at_end(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let ahead = input.fill_buf()?;
        if ahead.is_empty() {
            return Ok(true);
        }
        let zeros = ahead.iter().take_while(|&&byte| byte == 0).count();
        let is_more = zeros < ahead.len();
        input.consume(zeros);
        if is_more {
            return Ok(false);
        }
    }
}
