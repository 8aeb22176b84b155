// A certified OIDC provider on a free port of the loopback interface, for the tests of sign-in. It writes its issuer to
// standard output and ends with its standard input. Whoever signs in is known by the JSON file of accounts, which is
// read anew each time. CHM_TEST_OIDC: {client_id, client_secret, redirect_uri, accounts, claims_in_id_token}.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const told = JSON.parse(process.env.CHM_TEST_OIDC);
const accounts = () => JSON.parse(readFileSync(told.accounts, "utf-8"));

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: told.client_id,
        client_secret: told.client_secret,
        redirect_uris: [told.redirect_uri],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    claims: { openid: ["sub", "realm_access"], profile: ["preferred_username"], email: ["email"] },
    conformIdTokenClaims: !told.claims_in_id_token,
    cookies: { keys: ["only for tests"] },
    findAccount: (_, id) => (accounts()[id] ? { accountId: id, claims: () => ({ sub: id, ...accounts()[id] }) } : undefined),
    // The provider itself must see to it that the code goes to who began.
    pkce: { required: () => true },
  });
  server.on("request", provider.callback());
  process.stdout.write(`${issuer}\n`);
});
process.stdin.resume().on("end", () => process.exit(0));
