// Plays a level with a bridge and a character, three times in one process, against the server that is told.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "NpcBridgeSubsystem.h"
#include "NpcCharacterComponent.h"
#include "NpcSayAction.h"
#include "NpcSdkSettings.h"
#include "UnrealStub.h"

std::unique_ptr<IModuleInterface> stub_module();

static std::string utf8(const FString& text) { return stub::to_utf8(*text, static_cast<std::size_t>(text.Len())); }
static FString wide(const std::string& text) { return FString(stub::from_utf8(text.data(), text.size()).c_str()); }

static void same(const std::string& got, const std::string& wanted, int line) {
    if (got == wanted) return;
    std::fprintf(stderr, "line %d: got <%s>, wanted <%s>\n", line, got.c_str(), wanted.c_str());
    for (const std::string& one : stub::logged()) std::fprintf(stderr, "log: %s\n", one.c_str());
    std::exit(1);
}
#define SAME(got, wanted) same(got, wanted, __LINE__)
#define CHECK(so) same((so) ? "so" : "not so: " #so, "so", __LINE__)

template <class So>
static void until(So so, int line) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(40);
    while (!so()) {
        if (std::chrono::steady_clock::now() > end) same("too late", "in time", line);
        FTSTicker::GetCoreTicker().StubFrame();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}
#define UNTIL(so) until([&] { return so; }, __LINE__)

struct Heard {
    std::string pieces, text, end, reason, error, started;
    int ends = 0;
    void listen(UNpcCharacterComponent& to) {
        to.OnText.StubAdd([this](const FString& piece, const FString& all) { pieces += utf8(piece), text = utf8(all); });
        to.OnEnd.StubAdd([this](const FString& all, const FString& why) { end = utf8(all), reason = utf8(why), ++ends; });
        to.OnError.StubAdd([this](const FString& code, const FString&, const FString&) { error = utf8(code), ++ends; });
    }
    void forget() { *this = Heard(); }
};

static UNpcCharacterComponent* component(UWorld* world, const TCHAR* npc) {
    auto* const made = NewObject<UNpcCharacterComponent>();
    made->World = world;
    made->Npc = npc;
    return made;
}

static std::string history;

static void once() {
    auto* const game = NewObject<UGameInstance>();
    game->StubInit<UNpcBridgeSubsystem>();
    auto* const world = NewObject<UWorld>();
    world->Game = game;
    auto* const bridge = game->GetSubsystem<UNpcBridgeSubsystem>();
    std::string ready, problem;
    bridge->OnReady.StubAdd([&](const FString& name) { ready = utf8(name); });
    bridge->OnProblem.StubAdd([&](const FString& code, const FString&, const FString&) { problem = utf8(code); });

    auto* const mira = component(world, TEXT("mira"));
    mira->History = wide(history);
    Heard heard;
    heard.listen(*mira);
    CHECK(!mira->PrimaryComponentTick.bCanEverTick);
    CHECK(!mira->Say(TEXT("gr\u00fc\u00df dich \U0001F6AA")).IsEmpty());  // before anybody listens there
    UNTIL(heard.ends == 1);
    SAME(heard.end, "mira heard grüß dich 🚪");
    SAME(heard.pieces, heard.end);
    SAME(heard.text, heard.end);
    SAME(utf8(mira->GetText()), heard.end);
    SAME(ready, "Testholm");
    CHECK(bridge->IsConnected() && bridge->GetCharacters().Num() == 2);
    SAME(utf8(bridge->GetCharacters()[1].Voice), "low");
    CHECK(!mira->History.IsEmpty() && !mira->IsSpeaking());

    // actions: nobody carries them out; at once; later
    heard.forget();
    mira->Say(TEXT("act fetch water"));
    UNTIL(heard.ends == 1);
    SAME(heard.end, "Wait. failed: The game has nothing that carries out this action.");
    FNpcAction kept;
    mira->OnAction.StubAdd([&](const FNpcAction& action) {
        kept = action;
        if (utf8(*action.Arguments.Find(TEXT("target"))) == "gold") mira->FailAction(action, TEXT("there is none"));
    });
    mira->Say(TEXT("act fetch gold"));
    UNTIL(heard.ends == 2);
    SAME(heard.end, "Wait. failed: there is none");
    mira->Say(TEXT("act fetch water"));
    UNTIL(kept.Name == TEXT("fetch") && utf8(*kept.Arguments.Find(TEXT("target"))) == "water");
    SAME(utf8(kept.ArgumentsJson), "{\"target\": \"water\"}");
    CHECK(kept.bWantsResult);
    for (int frame = 0; frame < 20; ++frame) FTSTicker::GetCoreTicker().StubFrame();
    mira->FinishAction(kept, TEXT("a full bucket"));
    UNTIL(heard.ends == 3);
    SAME(heard.end, "Wait. done: a full bucket");

    // state, of every kind
    heard.forget();
    mira->SetNumber(TEXT("trust"), 61.0);
    mira->SetNumber(TEXT("mood"), -0.5);
    mira->SetFlag(TEXT("night"), true);
    mira->SetText(TEXT("quest"), TEXT("mine"));
    TArray<FString> nearby;
    nearby.Add(TEXT("gate"));
    mira->SetList(TEXT("nearby"), nearby);
    mira->SetText(TEXT("gone"), TEXT("x"));
    mira->ClearState(TEXT("gone"));
    mira->Say(TEXT("state"));
    UNTIL(heard.ends == 1);
    SAME(heard.end, "{'trust': 61, 'mood': -0.5, 'night': True, 'quest': 'mine', 'nearby': ['gate']} None");

    // what fails, and what is cut short
    mira->Say(TEXT("fail"));
    UNTIL(heard.ends == 2);
    SAME(heard.error, "backend_error");
    mira->Prepare();
    mira->Typing(TEXT("for-"));
    heard.forget();
    mira->Say(TEXT("for-ever"));
    UNTIL(heard.text.size() > 20);
    mira->Interrupt(7);
    UNTIL(heard.ends == 1);
    SAME(heard.reason, "cancelled");
    mira->Say(TEXT("for-ever"));
    UNTIL(mira->IsSpeaking() && heard.ends == 1 && heard.text.size() < 20);
    mira->Cancel();
    mira->Say(TEXT("and now"));  // waits for the end of the one before
    UNTIL(heard.ends == 3);
    SAME(heard.end, "mira heard and now");
    mira->React(TEXT("the bell rings"));
    UNTIL(heard.ends == 4);
    SAME(heard.end, "mira heard say You saw: the bell rings");
    bridge->SaveMemory(TEXT("autosave"));
    bridge->LoadMemory(TEXT("nothing"));
    UNTIL(problem == "slot_unknown");

    // a character that is none
    auto* const nobody = component(world, TEXT("nobody"));
    Heard lost;
    lost.listen(*nobody);
    nobody->Say(TEXT("hello"));
    UNTIL(lost.ends == 2);  // the turn, and the conversation
    SAME(lost.error, "npc_unknown");

    // the node
    std::string said, node_end, node_error;
    auto* const node = UNpcSayAction::SayToNpc(world, mira, TEXT("hello node"));
    node->OnText.StubAdd([&](const FString& text, const FString&, const FString&) { said = utf8(text); });
    node->OnEnd.StubAdd([&](const FString& text, const FString& why, const FString&) { node_end = utf8(text) + "/" + utf8(why); });
    CHECK(node->Registered);
    node->Activate();
    UNTIL(node->Destroyed);
    SAME(node_end, "mira heard hello node/stop");
    SAME(said, "mira heard hello node");
    CHECK(mira->OnTurnText.StubCount() == 0);
    auto* const failing = UNpcSayAction::SayToNpc(world, mira, TEXT("fail"));
    failing->OnError.StubAdd([&](const FString& text, const FString& code, const FString& error) {
        node_error = utf8(text) + "/" + utf8(code) + "/" + utf8(error);
    });
    failing->Activate();
    UNTIL(failing->Destroyed);
    SAME(node_error, "Hm/backend_error/It broke. Mend it.");
    auto* const alone = UNpcSayAction::SayToNpc(world, nullptr, TEXT("hello"));
    alone->Activate();
    CHECK(alone->Destroyed);

    // a delegate that disconnects and connects again, in the middle of a poll
    heard.forget();
    bool once_only = true;
    mira->OnText.StubAdd([&](const FString&, const FString&) {
        if (once_only) bridge->Connect();
        once_only = false;
    });
    mira->Say(TEXT("for-ever"));
    UNTIL(heard.ends == 1);
    SAME(heard.error, "closed");
    mira->Say(TEXT("again"));
    UNTIL(heard.ends == 2);
    SAME(heard.end, "mira heard again");
    history = utf8(mira->History);

    // the play is stopped while two characters speak; one of them is destroyed without a word
    auto* const tom = component(world, TEXT("tom"));
    Heard cut;
    cut.listen(*tom);
    tom->Say(TEXT("for-ever"));
    heard.forget();
    auto* const waiting = UNpcSayAction::SayToNpc(world, mira, TEXT("for-ever"));
    waiting->Activate();
    UNTIL(!heard.text.empty() && !cut.text.empty());
    mira->EndPlay(EEndPlayReason::EndPlayInEditor);
    SAME(heard.error, "closed");
    CHECK(heard.ends == 1 && waiting->Destroyed);
    const auto begin = std::chrono::steady_clock::now();
    bridge->Deinitialize();
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(500));
    SAME(cut.error, "closed");
    CHECK(cut.ends == 1 && FTSTicker::GetCoreTicker().StubTickers.empty());
    CHECK(tom->Say(TEXT("hello")).IsEmpty() && cut.ends == 2);
    stub::collect_garbage();
}

static void server(const std::string& program, const std::string& address) {
    UNpcSdkSettings* const settings = GetMutableDefault<UNpcSdkSettings>();
    settings->bStartServerInEditor = true;
    settings->ServerProgram = wide("/no/such/program");
    settings->WorldFolder = wide("a \"world\"\\");
    settings->bConnectAtStart = false;
    const auto play = [&] {
        auto* const game = NewObject<UGameInstance>();
        game->StubInit<UNpcBridgeSubsystem>();
        game->Subsystem->Deinitialize();
        stub::collect_garbage();
    };
    play();
    CHECK(stub::logged().size() == 1);
    settings->ServerProgram = wide(program);
    play();
    play();  // it lives through plays
    std::string read;
    until([&] {
        std::FILE* const file = std::fopen((program + ".arguments").c_str(), "r");
        if (!file) return false;
        char bytes[500];
        read.assign(bytes, std::fread(bytes, 1, sizeof bytes, file));
        std::fclose(file);
        return !read.empty() && read.back() == '\n';
    }, __LINE__);
    SAME(read, "serve|--address|" + address + "|--world|a \"world\"\\|\n");
    stub_module()->ShutdownModule();  // the editor ends
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

int main(int count, char** arguments) {
    if (count < 2) return 2;
    UNpcSdkSettings* const settings = GetMutableDefault<UNpcSdkSettings>();
    SAME(utf8(settings->GetCategoryName().Text), "Plugins");
    settings->Address = wide(arguments[1]);
    settings->SilenceSeconds = 20.0f;
    if (count > 2) return server(arguments[2], arguments[1]), 0;
    FNpcActionDefinition wave;
    wave.Name = TEXT("wave");
    wave.Description = TEXT("Waves.");
    wave.bReturns = true;
    wave.When = TEXT("trust >= 0");
    wave.TimeoutSeconds = 3.0f;
    FNpcArgumentDefinition hand;
    hand.Name = TEXT("hand");
    hand.From = TEXT("state.hands");
    wave.Arguments.Add(hand);
    FNpcArgumentDefinition times;
    times.Name = TEXT("times");
    times.Kind = ENpcArgumentKind::Integer;
    times.bOptional = true;
    wave.Arguments.Add(times);
    settings->Actions.Add(wave);
    for (int play = 0; play < 3; ++play) once();
    std::puts("played");
    return 0;
}
