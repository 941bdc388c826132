//! Archives of layers, well made and not.

use std::io::Write;

/// An archive under construction.
#[derive(Default)]
pub struct Archive(Vec<u8>);

/// What an entry is.
pub struct Entry<'a> {
    pub path: &'a [u8],
    pub kind: u8,
    pub link: &'a [u8],
    pub mode: u32,
    pub owner: (u64, u64),
    pub data: &'a [u8],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            path: b"file",
            kind: b'0',
            link: b"",
            mode: 0o644,
            owner: (0, 0),
            data: b"",
        }
    }
}

/// Moment of all files.
pub const MOMENT: u64 = 1_600_000_000;

impl Archive {
    /// Any entry, also one that no tool writes. Long names get a header of their own, as GNU's tar does it.
    pub fn raw(mut self, entry: &Entry<'_>) -> Self {
        for (kind, text) in [(b'L', entry.path), (b'K', entry.link)] {
            if text.len() > 100 {
                self = self.block(&Entry {
                    path: b"././@LongLink",
                    kind,
                    data: text,
                    ..Entry::default()
                });
            }
        }
        self.block(entry)
    }

    fn block(mut self, entry: &Entry<'_>) -> Self {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        let put = |field: &mut [u8], text: &[u8]| {
            let length = field.len().min(text.len());
            field[..length].copy_from_slice(&text[..length]);
        };
        put(&mut fields.name, entry.path);
        put(&mut fields.linkname, entry.link);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(MOMENT);
        header.set_size(entry.data.len() as u64);
        if let (b'S', Some(sparse)) = (entry.kind, header.as_gnu_mut()) {
            // 8 GiB of zeros that are not there.
            sparse.realsize = *b"77777777777\0";
            sparse.sparse[0].offset = *b"77777777777\0";
            sparse.sparse[0].numbytes = *b"00000000000\0";
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(entry.data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, path: &str, mode: u32, data: impl AsRef<[u8]>) -> Self {
        self.raw(&Entry {
            path: path.as_bytes(),
            mode,
            data: data.as_ref(),
            ..Entry::default()
        })
    }

    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.raw(&Entry {
            path: path.as_bytes(),
            kind: b'5',
            mode,
            ..Entry::default()
        })
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(&Entry {
            path: path.as_bytes(),
            kind: b'2',
            link: target.as_bytes(),
            mode: 0o777,
            ..Entry::default()
        })
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(&Entry {
            path: path.as_bytes(),
            kind: b'1',
            link: target.as_bytes(),
            ..Entry::default()
        })
    }

    /// An extended header for the entry that follows.
    pub fn extended(self, pairs: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in pairs {
            let rest = key.len() + value.len() + 3;
            let length = (rest..)
                .find(|length| length.to_string().len() + rest == *length)
                .unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(&Entry {
            path: b"PaxHeaders/x",
            kind: b'x',
            data: &data,
            ..Entry::default()
        })
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A program of this computer with the libraries that it needs, as a layer.
pub fn with_program(mut archive: Archive, program: &str) -> Archive {
    let list = std::process::Command::new("ldd").arg(program).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let libraries = list.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        archive = archive.file(path, 0o755, std::fs::read(path).unwrap());
    }
    archive
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
