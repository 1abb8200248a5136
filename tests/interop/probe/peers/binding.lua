-- What Envoy's jwt_authn leaves out: a token counts with the certificate that it is bound to, and for its scope.

-- The thumbprint of the client's certificate as `x5t#S256` has it (RFC 8705 §3.1).
local function thumbprint(handle)
  local connection = handle:streamInfo():downstreamSslConnection()
  if connection == nil or not connection:peerCertificatePresented() then
    return nil
  end
  local digest = connection:sha256PeerCertificateDigest():gsub("%x%x", function(byte)
    return string.char(tonumber(byte, 16))
  end)
  return (handle:base64Escape(digest):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

local function refuse(handle, status, code)
  handle:respond({ [":status"] = status, ["www-authenticate"] = 'Bearer error="' .. code .. '"' }, "")
end

function envoy_on_request(handle)
  local verified = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local claims = verified and verified["claims"]
  local bound = claims and type(claims["cnf"]) == "table" and claims["cnf"]["x5t#S256"]
  if not bound or bound ~= thumbprint(handle) then
    return refuse(handle, "401", "invalid_token")
  end
  local scope = claims["scope"]
  if type(scope) ~= "string" or not (" " .. scope .. " "):find(" {{scope}} ", 1, true) then
    return refuse(handle, "403", "insufficient_scope")
  end
end
