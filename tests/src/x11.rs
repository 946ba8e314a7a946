//! What other programs of a desktop do to a window: they drop a file on it (the source's half of the XDND protocol, version 5), and take the
//! keyboard from it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt, CreateWindowAux, EventMask, ImageFormat, InputFocus, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;
use x11rb::{COPY_DEPTH_FROM_PARENT, COPY_FROM_PARENT, CURRENT_TIME, NONE};

x11rb::atom_manager! {
    /// What the two sides call things.
    Atoms: AtomsCookie {
        XdndAware,
        XdndEnter,
        XdndPosition,
        XdndStatus,
        XdndDrop,
        XdndFinished,
        XdndSelection,
        XdndActionCopy,
        UriList: b"text/uri-list",
    }
}

/// A window to which the keyboard goes until it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    /// The server takes the window away with it.
    _x: RustConnection,
}

impl Keyboard {
    /// Takes it from whatever window has it, and keeps the pointer from giving it back.
    ///
    /// # Errors
    /// The X server's.
    pub fn take(display: &str) -> Result<Self> {
        let (x, screen) = x11rb::connect(Some(display)).context("the X server")?;
        let root = x.setup().roots.get(screen).context("a screen")?.root;
        let window = x.generate_id()?;
        let aux = CreateWindowAux::new().override_redirect(1);
        let (depth, class) = (COPY_DEPTH_FROM_PARENT, WindowClass::INPUT_OUTPUT);
        x.create_window(depth, window, root, 0, 0, 1, 1, 0, class, COPY_FROM_PARENT, &aux)?;
        x.map_window(window)?.check()?;
        x.set_input_focus(InputFocus::NONE, window, CURRENT_TIME)?.check()?;
        x.warp_pointer(NONE, root, 0, 0, 0, 0, 0, 0)?.check()?;
        Ok(Self { _x: x })
    }
}

/// What a person sees.
#[derive(Debug)]
pub struct Screen {
    x: RustConnection,
    root: Window,
    middle: (i16, i16),
}

impl Screen {
    /// The screen of a display.
    ///
    /// # Errors
    /// The X server's.
    pub fn of(display: &str) -> Result<Self> {
        let (x, screen) = x11rb::connect(Some(display)).context("the X server")?;
        let screen = x.setup().roots.get(screen).context("a screen")?;
        let middle = (i16::try_from(screen.width_in_pixels / 2)?, i16::try_from(screen.height_in_pixels / 2)?);
        let root = screen.root;
        Ok(Self { x, root, middle })
    }

    /// The colour of its middle, 0 where it is black.
    ///
    /// # Errors
    /// The X server's.
    pub fn middle(&self) -> Result<u32> {
        let (x, y) = self.middle;
        let image = self.x.get_image(ImageFormat::Z_PIXMAP, self.root, x, y, 1, 1, !0)?.reply()?;
        Ok(image.data.iter().take(3).fold(0, |colour, part| colour << 8 | u32::from(*part)))
    }
}

/// One drag from its beginning to its end.
struct Drag {
    x: RustConnection,
    atoms: Atoms,
    /// Ours; nobody sees it.
    source: Window,
    /// The one that takes the file.
    target: Window,
    uri: String,
}

/// Drags `file` over the only window of `display` that takes files, and lets go.
///
/// # Errors
/// No window takes files, or the one that does did not take this one in time.
pub fn drop_file(display: &str, file: &Path, timeout: Duration) -> Result<()> {
    let (x, screen) = x11rb::connect(Some(display)).context("the X server")?;
    let root = x.setup().roots.get(screen).context("a screen")?.root;
    let atoms = Atoms::new(&x)?.reply()?;
    let aware = |window: Window| -> Result<bool> {
        let property = x.get_property(false, window, atoms.XdndAware, AtomEnum::ANY, 0, 1)?.reply()?;
        Ok(property.value_len > 0)
    };
    let mut target = None;
    for window in x.query_tree(root)?.reply()?.children {
        if aware(window)? {
            target = Some(window);
        }
    }
    let target = target.context("no window takes files")?;
    let source = x.generate_id()?;
    let aux = CreateWindowAux::new();
    x.create_window(
        COPY_DEPTH_FROM_PARENT,
        source,
        root,
        0,
        0,
        1,
        1,
        0,
        WindowClass::INPUT_OUTPUT,
        COPY_FROM_PARENT,
        &aux,
    )?;
    x.set_selection_owner(source, atoms.XdndSelection, CURRENT_TIME)?;
    let uri = format!("file://{}\r\n", file.to_str().context("a path in UTF-8")?.replace(' ', "%20"));
    Drag { x, atoms, source, target, uri }.run(timeout)
}

impl Drag {
    fn run(&self, timeout: Duration) -> Result<()> {
        let atoms = &self.atoms;
        self.tell(atoms.XdndEnter, [5 << 24, atoms.UriList, 0, 0])?;
        self.tell(atoms.XdndPosition, [0, 200 << 16 | 200, CURRENT_TIME, atoms.XdndActionCopy])?;
        let end = Instant::now() + timeout;
        let (mut welcome, mut given, mut dropped) = (false, false, false);
        loop {
            let Some(event) = self.x.poll_for_event()? else {
                ensure!(
                    Instant::now() < end,
                    "the window did not take the file in {} s: welcome {welcome}, read {given}, dropped {dropped}",
                    timeout.as_secs()
                );
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            match event {
                Event::SelectionRequest(request) => {
                    self.give(&request)?;
                    given = true;
                }
                Event::ClientMessage(message) if message.type_ == atoms.XdndStatus => {
                    let [_, flags, ..] = message.data.as_data32();
                    ensure!(flags & 1 == 1, "the window refuses the file");
                    welcome = true;
                }
                Event::ClientMessage(message) if message.type_ == atoms.XdndFinished => {
                    let [_, flags, ..] = message.data.as_data32();
                    ensure!(flags & 1 == 1, "the window did not take the file");
                    return Ok(());
                }
                Event::Error(error) => bail!("{error:?}"),
                _ => {}
            }
            // It reads what is dragged while it is over it; what came before that would be nothing.
            if welcome && given && !dropped {
                self.tell(atoms.XdndDrop, [0, CURRENT_TIME, 0, 0])?;
                dropped = true;
            }
        }
    }

    /// A message of the protocol; its first word is always who speaks.
    fn tell(&self, kind: u32, [a, b, c, d]: [u32; 4]) -> Result<()> {
        let message = ClientMessageEvent::new(32, self.target, kind, [self.source, a, b, c, d]);
        self.x.send_event(false, self.target, EventMask::NO_EVENT, message)?;
        self.x.flush()?;
        Ok(())
    }

    /// Hands over what is dragged.
    fn give(&self, request: &SelectionRequestEvent) -> Result<()> {
        let known = request.target == self.atoms.UriList;
        let property = if known { request.property } else { NONE };
        if known {
            let bytes = self.uri.as_bytes();
            self.x.change_property8(PropMode::REPLACE, request.requestor, property, request.target, bytes)?;
        }
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property,
        };
        self.x.send_event(false, request.requestor, EventMask::NO_EVENT, answer)?;
        self.x.flush()?;
        Ok(())
    }
}
