//! Makes hives for tests, as Windows lays them out: a base block, one bin, keys with lists of hashed names, values in and out of line.

/// A key to be made.
#[derive(Debug, Default, Clone)]
pub(in crate::inspect) struct NewKey {
    name: String,
    values: Vec<(String, u32, Vec<u8>)>,
    children: Vec<NewKey>,
}

impl NewKey {
    pub(in crate::inspect) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(in crate::inspect) fn number(mut self, name: &str, value: u32) -> Self {
        self.values.push((name.to_owned(), 4, value.to_le_bytes().to_vec()));
        self
    }

    pub(in crate::inspect) fn text(mut self, name: &str, value: &str) -> Self {
        let bytes = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        self.values.push((name.to_owned(), 1, bytes));
        self
    }

    pub(in crate::inspect) fn with(mut self, child: NewKey) -> Self {
        self.children.push(child);
        self
    }

    /// The hive of which this is the root.
    pub(in crate::inspect) fn hive(&self) -> Vec<u8> {
        let mut cells = Cells(vec![0; 32]);
        let root = cells.key(self, 0);
        let mut bin = cells.0;
        bin.resize(bin.len().next_multiple_of(4096), 0);
        let size = u32::try_from(bin.len()).unwrap();
        bin[..4].copy_from_slice(b"hbin");
        bin[8..12].copy_from_slice(&size.to_le_bytes());
        let mut base = vec![0; 4096];
        base[..4].copy_from_slice(b"regf");
        for (at, number) in [(4, 1), (8, 1), (20, 1), (24, 5), (32, 1), (36, root), (40, size), (44, 1)] {
            base[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
        }
        let sum = base[..508].chunks_exact(4).fold(0, |sum, b| sum ^ u32::from_le_bytes(b.try_into().unwrap()));
        base[508..512].copy_from_slice(&sum.to_le_bytes());
        base.extend(bin);
        base
    }
}

struct Cells(Vec<u8>);

impl Cells {
    fn cell(&mut self, content: &[u8]) -> u32 {
        let at = u32::try_from(self.0.len()).unwrap();
        let size = (content.len() + 4).next_multiple_of(8);
        self.0.extend((-(size as i32)).to_le_bytes());
        self.0.extend(content);
        self.0.resize(at as usize + size, 0);
        at
    }

    fn key(&mut self, key: &NewKey, depth: u32) -> u32 {
        let values: Vec<u32> = key.values.iter().map(|v| self.value(v)).collect();
        let list: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let values_at = if values.is_empty() { u32::MAX } else { self.cell(&list) };
        let mut children: Vec<&NewKey> = key.children.iter().collect();
        children.sort_by_key(|c| c.name.to_ascii_uppercase());
        let made: Vec<u32> = children.iter().map(|c| self.key(c, depth + 1)).collect();
        let children_at = match made.len() {
            0 => u32::MAX,
            // Many are in lists of a list.
            n if n > 3 => {
                let halves: Vec<u32> = made.chunks(n.div_ceil(2)).map(|half| self.list(b"lh", half)).collect();
                self.list(b"ri", &halves)
            }
            _ => self.list(b"lf", &made),
        };
        let mut nk = vec![0; 76];
        nk[..2].copy_from_slice(b"nk");
        nk[2..4].copy_from_slice(&(if depth == 0 { 0x2c_u16 } else { 0x20 }).to_le_bytes());
        let numbers = [
            (20, made.len() as u32),
            (28, children_at),
            (32, u32::MAX),
            (36, values.len() as u32),
            (40, values_at),
            (44, u32::MAX),
            (48, u32::MAX),
            (72, key.name.len() as u32),
        ];
        for (at, number) in numbers {
            nk[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        nk.extend(key.name.as_bytes());
        self.cell(&nk)
    }

    fn list(&mut self, kind: &[u8; 2], offsets: &[u32]) -> u32 {
        let mut list = kind.to_vec();
        list.extend((offsets.len() as u16).to_le_bytes());
        for offset in offsets {
            list.extend(offset.to_le_bytes());
            if kind != b"ri" {
                list.extend([0; 4]);
            }
        }
        self.cell(&list)
    }

    fn value(&mut self, (name, kind, bytes): &(String, u32, Vec<u8>)) -> u32 {
        let (len, at) = if bytes.len() <= 4 {
            let mut within = bytes.clone();
            within.resize(4, 0);
            (bytes.len() as u32 | 0x8000_0000, u32::from_le_bytes(within.try_into().unwrap()))
        } else {
            (bytes.len() as u32, self.cell(bytes))
        };
        let mut vk = b"vk".to_vec();
        vk.extend((name.len() as u16).to_le_bytes());
        for number in [len, at, *kind, 1] {
            vk.extend(number.to_le_bytes());
        }
        vk.extend(name.as_bytes());
        self.cell(&vk)
    }
}
