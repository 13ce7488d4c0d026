//! How large headers may be over HTTP/1.1.

use http::StatusCode;
use tonic::Code;

use super::http1::Connection;
use super::page::{Form, Told};
use super::{GRANT, PAGE, grant, start};

#[tokio::test]
async fn headers_over_http_1_have_at_most_16_kib() {
    let service = start().await;
    let content_type = ("content-type", Form::Binary.media_type());
    let filler = |bytes: usize| "x".repeat(bytes);
    let mut connection = Connection::open(service.address).await;
    let one = filler(10 * 1024);
    let response = connection.send("POST", GRANT, &[content_type, ("x-filler", &one)], &grant("fits")).await;
    assert_eq!(Told::read(response, Form::Binary).status.code(), Code::Ok);
    // In one header, in many, in the path, and from a page: it is refused before anything else, and the connection goes on.
    let (large, small) = (filler(20 * 1024), filler(1024));
    let many = [[content_type].as_slice(), &[("x-filler", small.as_str()); 20]].concat();
    let of_page = [content_type, ("origin", PAGE), ("x-filler", &large)];
    let long_path = format!("{GRANT}?{large}");
    for (path, headers) in [
        (GRANT, [content_type, ("x-filler", &large)].as_slice()),
        (GRANT, &many),
        (GRANT, &of_page),
        (&long_path, &[content_type]),
    ] {
        let response = connection.send("POST", path, headers, &grant("large")).await;
        assert_eq!(response.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{:?}", response.headers);
        assert!(response.body.is_empty() && !response.headers.contains_key("grpc-status"), "{response:?}");
    }
    // What does not even fit into the buffer, and never ends, loses its connection.
    connection.write(format!("POST {GRANT} HTTP/1.1\r\nx-filler: {}", filler(500 * 1024)).as_bytes()).await;
    assert_eq!(connection.answer().await.unwrap().status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    connection.closed().await;
    assert_eq!(service.available("anna").await, 1);
}
