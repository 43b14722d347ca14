//! Good and bad contents, each by what is said of it.

use super::*;

const EC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDqJX0kz1xJAW7BxhQBA3HtO3jTX4
y7M3sI3I+Hvpcgos7hMmJLGBJzL6FZInqqkSbUXQGVfBZgJuL3FzowFwjw==
-----END PUBLIC KEY-----";
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApERFdS1A0MLZzX0bHsmT
rnlE7X456EScItabRVQwEcWffKw05GEdeGKkNgKA8lhTucLX0GmreUESO9YVCCgN
NYwvLYzSS1jMyP4eBipVBrSo20Eduvm74rl9/Fo3usZnBaWxp/uZahs4Ckr9jY1v
1vOjZ1w8cO3snq3EmLUsiWJbf0otYm16JTAXjjpATC2XYpEnZNWyzE4uqqL8t8Pv
6QKe0Acs7U9TC0tqJaZz9iZkP/zRVTk/bhxo3WXJSyMXoNwuY1g+1sPs5cHw9DAJ
XHueP9zoeEe4XJFE2NBUgthBxCYeaJJzfR6LHtGNzwkwkfLMQ/JOu8O2ddCT0Hxm
BQIDAQAB
-----END PUBLIC KEY-----";
const RSA_PUBLIC_OLD_FORM: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEApERFdS1A0MLZzX0bHsmTrnlE7X456EScItabRVQwEcWffKw05GEd
eGKkNgKA8lhTucLX0GmreUESO9YVCCgNNYwvLYzSS1jMyP4eBipVBrSo20Eduvm7
4rl9/Fo3usZnBaWxp/uZahs4Ckr9jY1v1vOjZ1w8cO3snq3EmLUsiWJbf0otYm16
JTAXjjpATC2XYpEnZNWyzE4uqqL8t8Pv6QKe0Acs7U9TC0tqJaZz9iZkP/zRVTk/
bhxo3WXJSyMXoNwuY1g+1sPs5cHw9DAJXHueP9zoeEe4XJFE2NBUgthBxCYeaJJz
fR6LHtGNzwkwkfLMQ/JOu8O2ddCT0HxmBQIDAQAB
-----END RSA PUBLIC KEY-----";
const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEawFO4zV6s+UkWA71tjR1LOrpTZXDG95I
6qBJ2RwCwiSwN3geJHYHVixormkinhzvYp5lzqIugb9JDLN0qV3FsbsQY65ApxA2
VmNmY8VBVTCVewbMusJ2FzmwF13RUXgG
-----END PUBLIC KEY-----";
const P256_COMPRESSED: &str = "-----BEGIN PUBLIC KEY-----
MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADDqJX0kz1xJAW7BxhQBA3HtO3jTX4
y7M3sI3I+Hvpcgo=
-----END PUBLIC KEY-----";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA/VLwVWJKBnRT0/UjfYHsA8qRtfGK89iKpYKEiG9Ngbc=
-----END PUBLIC KEY-----";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUf+rxRAFotNyq+wi8eztBamPEibMwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBdDAeFw0yNjExMjIyMjMyMTVaFw0zNjExMTkyMjMyMTVaMAwx
CjAIBgNVBAMMAXQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQOolfSTPXEkBbs
HGFAEDce07eNNfjLszewjcj4e+lyCizuEyYksYEnMvoVkieqqRJtRdAZV8FmAm4v
cXOjAXCPo1MwUTAdBgNVHQ4EFgQU3k8xRcWt4oAwtllBTV5akv0fNRAwHwYDVR0j
BBgwFoAU3k8xRcWt4oAwtllBTV5akv0fNRAwDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNIADBFAiA6KMzTSx0Akiuzs8fTJ6YRcqu3jU+NLAwaaiaH94MDvwIh
AMc9wXqny0aoRvzMZOwDPJAH0+wbgIpJWz2sDrPN+mhO
-----END CERTIFICATE-----";
const EC_PRIVATE: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEINj4dMF0r+Hwp3LEa2N7BVb+rLogOAplZPpsZeab/HHeoAoGCCqGSM49
AwEHoUQDQgAEDqJX0kz1xJAW7BxhQBA3HtO3jTX4y7M3sI3I+Hvpcgos7hMmJLGB
JzL6FZInqqkSbUXQGVfBZgJuL3FzowFwjw==
-----END EC PRIVATE KEY-----";
const PKCS8_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2Ph0wXSv4fCncsRr
Y3sFVv6suiA4CmVk+mxl5pv8cd6hRANCAAQOolfSTPXEkBbsHGFAEDce07eNNfjL
szewjcj4e+lyCizuEyYksYEnMvoVkieqqRJtRdAZV8FmAm4vcXOjAXCP
-----END PRIVATE KEY-----";
const ENCRYPTED_PRIVATE: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi9haHodSSleQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEBiH1sr4jUnt2PNsVkHs+kgEgZCe
E3Z4dNhx9n2Xy3/08WOdXGuRcCkkzv9WIt8lGoID3EELil0ySAh4tWg9GIJr+ybl
TEiURu7O1euiQuKwstV/EC9UtPb2PY8EOLTU/ZuGFnAi3twthOF2hmOkaWTUxcTv
Hn3ecrq60ZDw4Zn/wXZqwcsB8TT589tLfbwVqk3iIssWGBoBuImJizqkEsga/Eo=
-----END ENCRYPTED PRIVATE KEY-----";

const SHARED: &str = "a shared secret of 32 bytes or more";

fn allowed(all: &[Algorithm]) -> Algorithms {
    all.iter().copied().collect()
}

#[test]
fn a_key_says_itself_what_it_verifies() {
    use Algorithm::{ES256, HS256, RS256};
    let all = allowed(&[ES256, RS256, HS256]);
    for (key, is) in [
        (EC_PUBLIC, ES256),
        (CERTIFICATE, ES256),
        (RSA_PUBLIC, RS256),
        (RSA_PUBLIC_OLD_FORM, RS256),
        (SHARED, HS256),
        // As a file with a last line, and with the ends of lines of Windows.
        (&format!("{EC_PUBLIC}\n"), ES256),
        (&EC_PUBLIC.replace('\n', "\r\n"), ES256),
    ] {
        assert_eq!(algorithm(key, all), Ok(is), "{key}");
        assert_eq!(check(Content::JwtKey(allowed(&[is])), key.as_bytes()), Ok(()), "{key}");
        for other in [ES256, RS256, HS256].into_iter().filter(|other| *other != is) {
            assert!(check(Content::JwtKey(allowed(&[other])), key.as_bytes()).is_err(), "{key} for {other:?} alone");
        }
    }
}

#[test]
fn a_key_of_tokens_that_is_none_says_what_to_write() {
    let es256 = allowed(&[Algorithm::ES256]);
    let all = allowed(&[Algorithm::ES256, Algorithm::RS256, Algorithm::HS256]);
    let cut = &EC_PUBLIC[..120];
    let half = EC_PUBLIC.replace("7hMmJLGB", "");
    let one_line = EC_PUBLIC.replace('\n', "\\n");
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----";
    for (key, allowed, flaw) in [
        ("", es256, Flaw::Empty),
        (" \n", all, Flaw::Empty),
        (SHARED, es256, Flaw::NoPublicKey(es256)),
        ("short", es256, Flaw::NoPublicKey(es256)),
        ("short", all, Flaw::Short(5)),
        (&"x".repeat(31), all, Flaw::Short(31)),
        (RSA_PUBLIC, es256, Flaw::NotAllowed { is: Algorithm::RS256, allowed: es256 }),
        (EC_PRIVATE, all, Flaw::PrivateKey),
        (PKCS8_PRIVATE, all, Flaw::PrivateKey),
        (ENCRYPTED_PRIVATE, all, Flaw::PrivateKey),
        (&format!("{EC_PUBLIC}\n{EC_PRIVATE}"), all, Flaw::PrivateKey),
        (cut, all, Flaw::BrokenPem),
        (&half, all, Flaw::BrokenPem),
        (&one_line, all, Flaw::BrokenPem),
        (&EC_PUBLIC.replace("MFkw", "????"), all, Flaw::BrokenPem),
        (&EC_PUBLIC.replace("END PUBLIC", "END RSA PUBLIC"), all, Flaw::BrokenPem),
        (P384_PUBLIC, all, Flaw::OtherKey(all)),
        (P256_COMPRESSED, all, Flaw::OtherKey(all)),
        (ED25519_PUBLIC, all, Flaw::OtherKey(all)),
    ] {
        assert_eq!(check(Content::JwtKey(allowed), key.as_bytes()), Err(flaw.clone()), "{key}");
        let said = flaw.to_string();
        assert!(said.contains(": ") || said.contains(", and "), "{said} says what to write instead");
    }
    assert_eq!(check(Content::JwtKey(all), &[0xff; 40]), Err(Flaw::NotText));
    // The older block that openssl writes before a key of its own.
    assert!(check(Content::JwtKey(all), format!("{parameters}\n{EC_PUBLIC}").as_bytes()).is_err());
}

#[test]
fn other_entries_are_of_use_or_say_why_not() {
    use Content::{ApiKey, Certificates, Credential, PodKey, PrivateKey, ResumeKey};
    let chain = format!("subject: t\n{CERTIFICATE}\n{CERTIFICATE}\n");
    for (content, good) in [
        (ApiKey, "k"),
        (Credential, "throng\n"),
        (ResumeKey, SHARED),
        (PodKey, "one"),
        (PodKey, "one\ntwo\n"),
        (Certificates, CERTIFICATE),
        (Certificates, &chain),
        (PrivateKey, EC_PRIVATE),
        (PrivateKey, PKCS8_PRIVATE),
    ] {
        assert_eq!(check(content, good.as_bytes()), Ok(()), "{content:?} {good}");
    }
    for content in [ApiKey, Credential, ResumeKey, PodKey, Certificates, PrivateKey] {
        assert_eq!(check(content, b""), Err(Flaw::Empty), "{content:?}");
        assert_eq!(check(content, b" \r\n"), Err(Flaw::Empty), "{content:?}");
        assert_eq!(check(content, &[0xc3, 0x28]), Err(Flaw::NotText), "{content:?}");
    }
    for (content, bad, flaw) in [
        (ResumeKey, "short", Flaw::Short(5)),
        (PodKey, "not visible\u{e9}", Flaw::NotAscii),
        (Certificates, "a certificate", Flaw::NoCertificate),
        (Certificates, EC_PRIVATE, Flaw::NoCertificate),
        (Certificates, &CERTIFICATE[..200], Flaw::NoCertificate),
        (PrivateKey, CERTIFICATE, Flaw::NoPrivateKey),
        (PrivateKey, EC_PUBLIC, Flaw::NoPrivateKey),
        (PrivateKey, ENCRYPTED_PRIVATE, Flaw::NoPrivateKey),
    ] {
        assert_eq!(check(content, bad.as_bytes()), Err(flaw), "{content:?}");
    }
}

#[test]
fn what_is_said_never_holds_what_was_written() {
    let secret = "tangerine-0123";
    let broken = format!("-----BEGIN PUBLIC KEY-----\n{secret}");
    let es256 = allowed(&[Algorithm::ES256]);
    let contents =
        [Content::JwtKey(es256), Content::ResumeKey, Content::PodKey, Content::Certificates, Content::PrivateKey];
    for content in contents {
        for text in [secret, &broken, &format!("{secret}\u{e9}")] {
            if let Err(flaw) = check(content, text.as_bytes()) {
                assert!(!format!("{flaw} {flaw:?}").contains("tangerine"), "{content:?}: {flaw}");
            }
        }
    }
    assert_eq!(Algorithms::default().to_string(), "none");
}
