//! Questions and forms by keyboard: where the focus is when they open.

use super::*;

#[test]
fn enter_in_a_question_that_just_opened_takes_nothing_away() {
    let mut window = Window::over(bench(30));
    window.click("Stop");
    assert!(window.sees("Stop and cut them off"));
    window.key(Modifiers::NONE, Key::Enter);
    assert!(!window.sees("Stop and cut them off"), "Cancel has the focus");
    window.sent_nothing();
    window.key(Modifiers::COMMAND, Key::A);
    for (key, act) in [(Key::Delete, "Dropped from the list"), (Key::R, "Reset 1 disk")] {
        window.key(Modifiers::NONE, key);
        assert!(window.sees(act));
        window.key(Modifiers::NONE, Key::Enter);
        assert!(!window.sees(act), "{act}");
        window.sent_nothing();
    }
}

#[test]
fn a_form_is_typed_into_from_its_first_field_on() {
    let field = |window: &Window, label| window.harness.get_by_role_and_label(Role::TextInput, label).value();
    for (key, label) in [(Key::D, "Image file"), (Key::P, "Kernel")] {
        let mut window = Window::over(bench(1));
        window.key(Modifiers::COMMAND, key);
        window.harness.event(Event::Text("/srv/x".into()));
        window.frames();
        assert_eq!(field(&window, label).as_deref(), Some("/srv/x"));
    }
    let mut window = Window::over(bench(1));
    window.key(Modifiers::COMMAND, Key::D);
    window.click("Make an empty disk");
    window.harness.event(Event::Text("40".into()));
    window.frames();
    assert_eq!(field(&window, "Size in GiB").as_deref(), Some("40"));
}
