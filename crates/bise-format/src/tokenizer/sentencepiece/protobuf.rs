//! Protocol buffers on the wire: fields, one after the other, in place.
//!
//! ```text
//! | number << 3 | kind: varint | 0: varint | 1: 8 bytes | 2: length, varint, and bytes | 5: 4 bytes |
//! ```

/// The fields of a message; after an error there are no more.
pub(super) struct Fields<'a>(pub &'a [u8]);

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Field<'a>), String> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Fixed64
            }
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(self.take(4)?.try_into().expect("four bytes")),
            kind => return Err(format!("a field of kind {kind}, expected 0, 1, 2 or 5")),
        };
        match key >> 3 {
            0 => Err("a field with number 0".to_owned()),
            number => Ok((number, field)),
        }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than 10 bytes".to_owned())
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let left = self.0.len();
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.0.split_at_checked(len));
        let (bytes, rest) = taken.ok_or_else(|| format!("{len} bytes needed, {left} left"))?;
        self.0 = rest;
        Ok(bytes)
    }
}

impl<'a> Field<'a> {
    /// The value of an `int32`, `enum` or `bool` field.
    pub(super) fn i32(self) -> Result<i32, String> {
        match self {
            Self::Varint(value) => Ok(value as i32),
            _ => Err("no integer where one should be".to_owned()),
        }
    }

    pub(super) fn f32(self) -> Result<f32, String> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err("no float where one should be".to_owned()),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|e| e.to_string()),
            _ => Err("no text where one should be".to_owned()),
        }
    }
}
