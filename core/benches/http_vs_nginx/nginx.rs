//! Debian's nginx, with a configuration and a port of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::server::Server;

/// Starts it.
pub(crate) fn start(folder: &Path) -> Fallible<Server> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let root = folder.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let own = folder.join("nginx");
    std::fs::create_dir(&own)?;
    let place = own.display();
    let text = format!(
        "daemon off; worker_processes 1; {user} pid {place}/pid; error_log {place}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000;\n\
         client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;\n\
         uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
         server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    );
    let file = own.join("nginx.conf");
    std::fs::write(&file, text)?;
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let child = Command::new(program)
        .args(["-p".as_ref(), own.as_os_str(), "-c".as_ref(), file.as_os_str()])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|_| "`nginx` is missing: apt-get install nginx-light")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = Server { name: "nginx", child, address };
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            let said = std::fs::read_to_string(own.join("error.log")).unwrap_or_default();
            return Err(format!("nginx did not start: {said}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}
