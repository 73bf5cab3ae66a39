# An application for puma (the Rack specification).
run(lambda do |env|
  sleep 0.1 if env["PATH_INFO"] == "/slow"
  env["rack.input"]&.read
  [200, { "content-type" => "text/plain" }, [ENV.fetch("APP_NAME")]]
end)
