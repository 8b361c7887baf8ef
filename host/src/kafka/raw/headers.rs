//! The headers of records, read and written.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Response;

use super::{Message, bytes};

/// A header to write: its name, and its value; none is not the same as empty.
pub type Pair<'a> = (&'a str, Option<&'a [u8]>);

/// The headers of a record, borrowed from it.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    list: Option<NonNull<sys::rd_kafka_headers_t>>,
    message: PhantomData<Message<'a>>,
}

impl<'a> Headers<'a> {
    /// The list of a message that lives for `'a`.
    pub(super) fn of(list: Option<NonNull<sys::rd_kafka_headers_t>>) -> Self {
        Headers { list, message: PhantomData }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        // SAFETY: the list lives for 'a.
        self.list.map_or(0, |list| unsafe { sys::rd_kafka_header_cnt(list.as_ptr()) })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// In order. A name that is not UTF-8 shows as `U+FFFD`; a copy by [`HeadersArg::Copy`] keeps it.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let list = self.list;
        (0..).map_while(move |place| {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list, its names (which end with a zero byte) and its values live for 'a;
            // a place behind the last answers with an error and sets nothing.
            unsafe {
                let code = sys::rd_kafka_header_get_all(
                    list?.as_ptr(),
                    place,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                );
                (code == Response::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| {
                    let name = CStr::from_ptr(name).to_str().unwrap_or("\u{FFFD}");
                    (name, bytes(value, len))
                })
            }
        })
    }
}

/// The headers that a record is sent with.
#[derive(Clone, Copy)]
pub enum HeadersArg<'a> {
    /// None.
    None,
    /// Those of an input record, copied inside librdkafka.
    Copy(Headers<'a>),
    /// Those of an input record, then these.
    CopyAnd(Headers<'a>, &'a [Pair<'a>]),
    /// These.
    Pairs(&'a [Pair<'a>]),
}

/// A list of headers that is ours until a record takes it.
pub(super) struct HeaderList(NonNull<sys::rd_kafka_headers_t>);

impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: made by us, and not handed over (that forgets it).
        unsafe { sys::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}

impl HeaderList {
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_headers_t {
        self.0.as_ptr()
    }

    /// None where there are no headers.
    pub(super) fn build(headers: &HeadersArg<'_>) -> Option<Self> {
        let (copied, pairs): (_, &[Pair<'_>]) = match headers {
            HeadersArg::None => return None,
            HeadersArg::Copy(copied) => (copied.list, &[]),
            HeadersArg::CopyAnd(copied, pairs) => (copied.list, pairs),
            HeadersArg::Pairs(pairs) => (None, pairs),
        };
        // SAFETY: a borrowed list is alive while it is copied; names and values are copied with the
        // lengths given.
        let list = unsafe {
            match copied {
                Some(copied) => sys::rd_kafka_headers_copy(copied.as_ptr()),
                None if pairs.is_empty() => return None,
                None => sys::rd_kafka_headers_new(pairs.len()),
            }
        };
        let list = HeaderList(NonNull::new(list)?);
        for (name, value) in pairs {
            let (start, len) =
                value.map_or((ptr::null(), 0), |value| (value.as_ptr().cast(), value.len()));
            // SAFETY: as above. Lengths of slices fit in isize. It fails for copied lists of
            // read-only messages only, which ours are not.
            unsafe {
                sys::rd_kafka_header_add(
                    list.0.as_ptr(),
                    name.as_ptr().cast(),
                    name.len() as isize,
                    start,
                    len as isize,
                );
            }
        }
        Some(list)
    }
}
