-- Remembers which password was found right for a verifier, so that it is computed once: password.lua, app-password.lua. In memory only, as a hash. A
-- verifier that is gone from the file is never asked about again; a new password has a new one.
--
-- dofile(…)(most) makes a function of request, password and verifier with the results of request:password_verify.
return function(most)
  local proved, count = {}, 0
  return function(request, password, verifier)
    local hash = request:var_expand("%{password | sha256 | hexlify}")
    if proved[verifier] == hash then return 1 end
    local result, problem = request:password_verify(verifier, password)
    if result > 0 and most > 0 then
      if count >= most then proved, count = {}, 0 end
      proved[verifier], count = hash, count + 1
    end
    return result, problem
  end
end
