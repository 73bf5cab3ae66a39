# A Rails application in a file, which sends whoever comes over HTTP to HTTPS and answers
# for one host only.
require "rails"
require "action_controller/railtie"

class App < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.force_ssl = true
  config.hosts << "app.test"
  config.logger = Logger.new($stderr)
  config.secret_key_base = "of no use to anybody"
  routes.append { match "*path", to: "answers#show", via: :all; match "/", to: "answers#show", via: :all }
end

class AnswersController < ActionController::Base
  def show
    sleep 0.1 if request.path == "/slow"
    render plain: ENV.fetch("APP_NAME")
  end
end

App.initialize!
run App
